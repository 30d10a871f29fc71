import CKernels

/// Convolutions without unfolded rows. Shapes and rules are in `ckernels.h`.
public enum DirectConvolution {
  /// In single precision and on processors with 512-bit vectors.
  public static func isAvailable<S: EngineScalar>(_: S.Type) -> Bool {
    S.self == Float.self && hasProduct
  }

  private static let hasProduct = ck_has_product() == 1

  /// Scalars of scratch.
  public static func scratch(_ w: Window) -> Int {
    withUnsafePointer(to: w.sizes) { ck_convolution_scratch($0) }
  }

  /// `y = x * weight + bias`, or `+=` with `accumulate`.
  public static func multiply<S: EngineScalar>(
    _ w: Window, outputs: Int, images: Int, _ x: UnsafePointer<S>,
    by weight: UnsafePointer<S>, isTransposed: Bool = false, bias: UnsafePointer<S>? = nil,
    accumulate: Bool = false, into y: UnsafeMutablePointer<S>, scratch: UnsafeMutablePointer<S>
  ) {
    count(w, outputs: outputs, images: images)
    withUnsafePointer(to: w.sizes) {
      ck_convolve(
        $0, outputs, images, floats(x), floats(weight), isTransposed ? 1 : 0, bias.map(floats),
        accumulate ? 1 : 0, floats(y), floats(scratch))
    }
  }

  /// `gradient += b^T (windows of x)`
  public static func addGradient<S: EngineScalar>(
    _ w: Window, outputs: Int, images: Int, _ x: UnsafePointer<S>, _ b: UnsafePointer<S>,
    to gradient: UnsafeMutablePointer<S>, scratch: UnsafeMutablePointer<S>
  ) {
    count(w, outputs: outputs, images: images)
    withUnsafePointer(to: w.sizes) {
      ck_convolution_gradient(
        $0, outputs, images, floats(x), floats(b), floats(gradient), floats(scratch))
    }
  }

  /// Scalars of scratch for `multiplySelected`.
  public static func selectedScratch(_ w: Window) -> Int {
    withUnsafePointer(to: w.sizes) { ck_selected_scratch($0) }
  }

  /// Tangents at `count` outputs of each image alone, of as many directions as there are weights.
  public static func multiplySelected<S: EngineScalar>(
    _ w: Window, outputs: Int, images: Int, count selected: Int,
    at index: UnsafePointer<Int32>, _ x: UnsafePointer<S>, by weights: [UnsafePointer<S>],
    _ t: UnsafePointer<S>, by weight: UnsafePointer<S>, biases: [UnsafePointer<S>?],
    factor: UnsafePointer<S>?, into y: UnsafeMutablePointer<S>, scratch: UnsafeMutablePointer<S>
  ) {
    let depth = w.kernelHeight * w.kernelWidth * w.channels
    ProductMeter.count(
      operations: 4 * weights.count * images * selected * depth,
      scalars: (1 + weights.count)
        * (images * w.height * w.width * w.channels + depth * outputs)
        + weights.count * images * selected, Float.self)
    withUnsafePointer(to: w.sizes) {
      ck_convolve_selected(
        $0, outputs, images, weights.count, selected, index, floats(x), floats(t), floats(weight),
        weights.map { floats($0) }, biases.map { $0.map { floats($0) } }, factor.map(floats),
        floats(y), floats(scratch))
    }
  }

  private static func count(_ w: Window, outputs: Int, images: Int) {
    let positions = w.outHeight * w.outWidth
    let depth = w.kernelHeight * w.kernelWidth * w.channels
    let scalars = w.height * w.width * w.channels + positions * outputs
    ProductMeter.count(
      operations: 2 * images * positions * depth * outputs,
      scalars: images * scalars + depth * outputs, Float.self)
  }

  private static func floats<S>(_ p: UnsafePointer<S>) -> UnsafePointer<Float> {
    UnsafeRawPointer(p).assumingMemoryBound(to: Float.self)
  }

  private static func floats<S>(_ p: UnsafeMutablePointer<S>) -> UnsafeMutablePointer<Float> {
    UnsafeMutableRawPointer(p).assumingMemoryBound(to: Float.self)
  }
}
