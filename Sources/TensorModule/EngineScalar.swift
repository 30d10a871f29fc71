import CKernels

/// The two precisions in which the engine runs. Reductions, Gram matrices and inner products are
/// taken in double in either.
public protocol EngineScalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
  /// How the C kernels name this precision.
  static var kernelType: ck_dtype { get }
}

extension Float: EngineScalar {
  public static var kernelType: ck_dtype { CK_F32 }
}

extension Double: EngineScalar {
  public static var kernelType: ck_dtype { CK_F64 }
}
