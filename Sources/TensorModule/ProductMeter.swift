import CKernels

/// Work handed to BLAS by this process since it began, on all threads: what a cost model can be
/// held against.
public struct ProductMeter: Sendable, Equatable {
  /// Multiplications and additions.
  public var operations: UInt64
  /// Of operands and results, each counted once a call: what would have to be moved if nothing
  /// stayed in a cache between calls.
  public var bytes: UInt64

  /// What there is by now.
  public static func read() -> ProductMeter {
    var meter = ProductMeter(operations: 0, bytes: 0)
    ck_meter_read(&meter.operations, &meter.bytes)
    return meter
  }

  /// What came between.
  public static func - (a: ProductMeter, b: ProductMeter) -> ProductMeter {
    ProductMeter(operations: a.operations - b.operations, bytes: a.bytes - b.bytes)
  }

  static func count<S>(operations: Int, scalars: Int, _: S.Type) {
    ck_meter_add(UInt64(operations), UInt64(scalars * MemoryLayout<S>.stride))
  }
}
