import TensorModule

/// Element types of stored tensors, named as in safetensors. All are little-endian in memory.
public enum DType: String, CaseIterable, Sendable {
  /// Double precision.
  case f64 = "F64"
  /// Single precision.
  case f32 = "F32"
  /// Half precision, IEEE 754.
  case f16 = "F16"
  /// The upper half of single precision.
  case bf16 = "BF16"
  /// Whole numbers of 64 bits.
  case i64 = "I64"
  /// Whole numbers of 32 bits.
  case i32 = "I32"
  /// Whole numbers of 16 bits.
  case i16 = "I16"
  /// Whole numbers of 8 bits.
  case i8 = "I8"
  /// Whole numbers of 8 bits without a sign.
  case u8 = "U8"
  /// One byte, 0 or 1.
  case bool = "BOOL"

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .f64, .i64: 8
    case .f32, .i32: 4
    case .f16, .bf16, .i16: 2
    case .i8, .u8, .bool: 1
    }
  }

  /// True for the types that `StoredTensor.read` converts.
  public var isFloatingPoint: Bool {
    switch self {
    case .f64, .f32, .f16, .bf16: true
    case .i64, .i32, .i16, .i8, .u8, .bool: false
    }
  }

  /// Floating point in 16 bits.
  package var isHalf: Bool { self == .f16 || self == .bf16 }

  /// That of an engine's numbers.
  package static func of<S: EngineScalar>(_: S.Type) -> DType { S.self == Float.self ? .f32 : .f64 }

  /// Whether whoever reads 16 bits too reads numbers of this type where they lie.
  package func isReadInPlace<S: EngineScalar>(_: S.Type) -> Bool { isHalf || self == .of(S.self) }

  /// True for the types that `StoredTensor.integers` reads; `bool` counts as 0 and 1.
  public var isInteger: Bool { !isFloatingPoint }
}

/// Bytes of a tensor of this shape, or nil if it is impossible (`checkedProduct`).
func checkedByteCount(_ dtype: DType, _ shape: [Int]) -> Int? {
  checkedProduct([dtype.byteCount] + shape)
}
