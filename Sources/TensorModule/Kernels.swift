import CKernels

/// The C kernels with Swift types: one line each, no logic. Shapes and rules are in `ckernels.h`.
public enum Kernels {
  /// Shapes and constants of a normalisation.
  public typealias Normalization = ck_normalization

  /// Numbers that a kernel reads.
  public typealias In<S> = UnsafePointer<S>
  /// Numbers that a kernel writes.
  public typealias Out<S> = UnsafeMutablePointer<S>

  /// Which clones of the kernels this processor runs: results of two of them differ in rounding.
  public static let processorLevel = String(cString: ck_processor_level())

  // MARK: Element-wise

  /// `y = f(x)`, and f'(x) where that is asked for.
  public static func apply<S: EngineScalar>(
    _ f: ElementFunction, _ x: In<S>, _ y: Out<S>, derivative: Out<S>?, count: Int
  ) {
    let (p, q) = (f.values.first ?? 0, f.values.count > 1 ? f.values[1] : 0)
    switch f.kernel {
    case .vector(let kernel): ck_activate(S.kernelType, kernel, p, q, x, y, derivative, count)
    case .scalar(let kernel): ck_apply(S.kernelType, kernel, p, q, x, y, derivative, count)
    }
  }

  /// `out = a b`, or `+=`, element by element.
  public static func multiply<S: EngineScalar>(
    _ a: In<S>, _ b: In<S>, _ out: Out<S>, count: Int, accumulate: Bool = false
  ) {
    ck_multiply(S.kernelType, a, b, out, count, accumulate ? 1 : 0)
  }

  /// `out = a + b`
  public static func add<S: EngineScalar>(_ a: In<S>, _ b: In<S>, _ out: Out<S>, count: Int) {
    ck_add(S.kernelType, a, b, out, count)
  }

  /// `y = a x + b y`
  public static func axpby<S: EngineScalar>(
    _ a: Double, _ x: In<S>, _ b: Double, _ y: Out<S>, count: Int
  ) {
    ck_axpby(S.kernelType, a, x, b, y, count)
  }

  /// `y += x`, rounded once.
  public static func addRounded<S: EngineScalar>(_ x: In<Double>, _ y: Out<S>, count: Int) {
    ck_add_rounded(S.kernelType, x, y, count)
  }

  /// Copies, or adds with `accumulate`.
  public static func copy<S: EngineScalar>(
    _ x: In<S>, _ y: Out<S>, count: Int, accumulate: Bool = false
  ) {
    if accumulate { return add(x, y, y, count: count) }
    UnsafeMutableRawPointer(y).copyMemory(from: x, byteCount: count * MemoryLayout<S>.stride)
  }

  /// As bytes: a generic loop over scalars would call a witness for every one of them.
  public static func zero<S: EngineScalar>(_ x: Out<S>, count: Int) {
    UnsafeMutableRawPointer(x).initializeMemory(
      as: UInt8.self, repeating: 0, count: count * MemoryLayout<S>.stride)
  }

  /// The place of the first number that is infinite or NaN; `nil` if there is none.
  public static func firstNonFinite<S: EngineScalar>(_ x: In<S>, count: Int) -> Int? {
    let index = ck_first_nonfinite(S.kernelType, x, count)
    return index == count ? nil : index
  }

  /// The largest magnitude; not finite if any is not.
  public static func largest<S: EngineScalar>(_ x: In<S>, count: Int) -> Double {
    ck_largest(S.kernelType, x, count)
  }

  /// `<x, y>`, in double.
  public static func dot<S: EngineScalar>(_ x: In<S>, _ y: In<S>, count: Int) -> Double {
    ck_dot(S.kernelType, x, y, count)
  }

  // MARK: Rows

  /// `y += bias` for every row, y `[rows, columns]`.
  public static func addToRows<S: EngineScalar>(
    _ bias: In<S>, _ y: Out<S>, rows: Int, columns: Int
  ) {
    ck_add_to_rows(S.kernelType, bias, y, rows, columns)
  }

  /// The places where `b` is not `factor a` to four units in the last place; `nil` if there are more than
  /// `most`.
  public static func unlikeMultiple<S: EngineScalar>(
    _ factor: Double, _ a: In<S>, _ b: In<S>, count: Int, atMost most: Int
  ) -> [Int]? {
    var isFew = true
    let places = [Int32](unsafeUninitializedCapacity: most) { buffer, found in
      let unlike = ck_unlike_multiple(
        S.kernelType, factor, a, b, count, most, buffer.baseAddress)
      found = min(unlike, most)
      isFew = unlike <= most
    }
    return isFew ? places.map(Int.init) : nil
  }

  /// `out = y scale`, or `+=`, for every row.
  public static func multiplyRows<S: EngineScalar>(
    _ y: In<S>, by scale: In<S>, _ out: Out<S>, rows: Int, columns: Int, accumulate: Bool = false
  ) {
    ck_multiply_rows(S.kernelType, y, scale, out, rows, columns, accumulate ? 1 : 0)
  }

  /// `out = sum over rows of y`, or `+=`.
  public static func sumRows<S: EngineScalar>(
    _ y: In<S>, rows: Int, columns: Int, _ out: Out<S>, accumulate: Bool
  ) {
    ck_sum_rows(S.kernelType, y, rows, columns, out, accumulate ? 1 : 0)
  }

  /// `out = sum over rows of a b`, or `+=`, element by element.
  public static func sumProductRows<S: EngineScalar>(
    _ a: In<S>, _ b: In<S>, rows: Int, columns: Int, _ out: Out<S>, accumulate: Bool
  ) {
    ck_sum_product_rows(S.kernelType, a, b, rows, columns, out, accumulate ? 1 : 0)
  }

  /// `out[r] = weight[r / group] y[r]` for every row r.
  public static func scaleRows<S: EngineScalar>(
    by weight: In<Double>, group: Int, _ y: In<S>, rows: Int, columns: Int, _ out: Out<S>
  ) {
    ck_scale_rows(S.kernelType, weight, group, y, rows, columns, out)
  }

  // MARK: Strided loops

  /// `out = alpha a b`, or `+=`, over the axes; without b it is ones.
  public static func contract<S: EngineScalar>(
    _ axes: StridedAxes, alpha: Double = 1, _ a: In<S>, _ b: In<S>? = nil,
    gate: In<Int32>? = nil, open: Bool = true, to out: Out<S>, accumulate: Bool = false
  ) {
    withUnsafePointer(to: axes.strides) {
      ck_contract(S.kernelType, $0, alpha, a, b, gate, open ? 1 : 0, out, accumulate ? 1 : 0)
    }
  }

  // MARK: Windows

  /// Rows of what every place of the window sees of the image.
  public static func unfold<S: EngineScalar>(_ w: Window, _ image: In<S>, _ rows: Out<S>) {
    withUnsafePointer(to: w.sizes) { ck_unfold(S.kernelType, $0, image, rows) }
  }

  /// The transpose of `unfold`: adds rows to the places that they were seen at.
  public static func fold<S: EngineScalar>(_ w: Window, _ rows: In<S>, addingTo image: Out<S>) {
    withUnsafePointer(to: w.sizes) { ck_fold(S.kernelType, $0, rows, image) }
  }

  /// The largest of every window and channel, and where it was.
  public static func maxPool<S: EngineScalar>(
    _ w: Window, _ image: In<S>, _ out: Out<S>, _ index: Out<Int32>
  ) {
    withUnsafePointer(to: w.sizes) { ck_max_pool(S.kernelType, $0, image, out, index) }
  }

  /// The mean of every window and channel; padding counts as zeros.
  public static func averagePool<S: EngineScalar>(_ w: Window, _ image: In<S>, _ out: Out<S>) {
    withUnsafePointer(to: w.sizes) { ck_average_pool(S.kernelType, $0, image, out) }
  }

  /// The transpose of `averagePool`.
  public static func averagePoolTranspose<S: EngineScalar>(
    _ w: Window, _ out: In<S>, addingTo image: Out<S>
  ) {
    withUnsafePointer(to: w.sizes) { ck_average_pool_transpose(S.kernelType, $0, out, image) }
  }

  /// `out[i] = x[index[i]]`
  public static func gather<S: EngineScalar>(
    _ x: In<S>, _ index: In<Int32>, _ out: Out<S>, count: Int, accumulate: Bool = false
  ) {
    ck_gather(S.kernelType, x, index, out, accumulate ? 1 : 0, count)
  }

  /// `x[index[i]] += out[i]`
  public static func scatterAdd<S: EngineScalar>(
    _ out: In<S>, _ index: In<Int32>, addingTo x: Out<S>, count: Int
  ) {
    ck_scatter_add(S.kernelType, out, index, x, count)
  }

  /// Places of entries that lie `stride` apart, from the first of each.
  public static func places(
    _ index: In<Int32>, first: In<Int32>, stride: Int, _ out: Out<Int32>, count: Int
  ) {
    ck_places(index, first, Int32(stride), out, count)
  }

  // MARK: Normalisation

  /// `xhat = (x - mean) rstd` for every group of numbers.
  public static func normalize<S: EngineScalar>(
    _ s: Normalization, _ x: In<S>, _ xhat: Out<S>, rstd: Out<Double>
  ) {
    withUnsafePointer(to: s) { ck_normalize(S.kernelType, $0, x, xhat, rstd) }
  }

  /// The derivative of xhat along dx, or its transpose, as both are the same matrix.
  public static func normalizeDerivative<S: EngineScalar>(
    _ s: Normalization, xhat: In<S>, rstd: In<Double>, _ dx: In<S>, _ out: Out<S>, accumulate: Bool
  ) {
    withUnsafePointer(to: s) {
      ck_normalize_derivative(S.kernelType, $0, xhat, rstd, dx, out, accumulate ? 1 : 0)
    }
  }

  // MARK: Attention

  /// Softmax of every row of `scores + bias`, in place; a column whose mask is 0 is hidden.
  public static func softmax<S: EngineScalar>(
    _ scores: Out<S>, bias: In<S>?, mask: In<Int32>?, rows: Int, columns: Int
  ) {
    ck_softmax(S.kernelType, bias, mask, rows, columns, scores)
  }

  /// `y = x - log sum e^x` for every row.
  public static func logSoftmax<S: EngineScalar>(
    _ x: In<S>, _ y: Out<S>, rows: Int, columns: Int
  ) {
    ck_log_softmax(S.kernelType, rows, columns, x, y)
  }

  /// The largest or smallest of each row, and which share of its derivative each entry has.
  public static func rowExtremes<S: EngineScalar>(
    _ x: In<S>, isMaximum: Bool, rows: Int, columns: Int, _ y: Out<S>, shares: Out<S>
  ) {
    ck_row_extremes(S.kernelType, isMaximum ? 1 : 0, rows, columns, x, y, shares)
  }

  /// `x = scale p (x - p . x)` for every row of probabilities p.
  public static func softmaxDerivative<S: EngineScalar>(
    _ p: In<S>, _ x: Out<S>, rows: Int, columns: Int, scale: Double
  ) {
    ck_softmax_derivative(S.kernelType, p, rows, columns, scale, x)
  }

  // MARK: Conversion

  /// How a file stores real numbers; little-endian.
  public enum StoredFormat: Sendable {
    /// As in IEEE 754, and the upper half of single precision.
    case float64, float32, float16, bfloat16

    /// Whether a number has 16 bits.
    public var isHalf: Bool { self == .float16 || self == .bfloat16 }

    var source: ck_source {
      switch self {
      case .float64: CK_SOURCE_F64
      case .float32: CK_SOURCE_F32
      case .float16: CK_SOURCE_F16
      case .bfloat16: CK_SOURCE_BF16
      }
    }
  }

  /// `y = x` for numbers at any alignment.
  public static func convert<S: EngineScalar>(
    _ format: StoredFormat, _ x: UnsafeRawPointer, _ y: Out<S>, count: Int
  ) {
    ck_convert(format.source, x, S.kernelType, y, count)
  }

  /// The place of the first number in 16 bits that is infinite or NaN; `nil` if there is none.
  public static func firstNonFinite(
    _ format: StoredFormat, _ x: UnsafeRawPointer, count: Int
  ) -> Int? {
    precondition(format.isHalf, "firstNonFinite: \(format)")
    let index = ck_first_nonfinite_stored(format.source, x, count)
    return index == count ? nil : index
  }

  /// `y = x`
  public static func toDouble<S: EngineScalar>(_ x: In<S>, _ y: Out<Double>, count: Int) {
    convert(S.self == Float.self ? .float32 : .float64, x, y, count: count)
  }

  /// `y = x`, rounded.
  public static func fromDouble<S: EngineScalar>(_ x: In<Double>, _ y: Out<S>, count: Int) {
    convert(.float64, x, y, count: count)
  }
}
