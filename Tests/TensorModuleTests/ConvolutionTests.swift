import CKernels
import TensorModule
import Testing

private struct Case: CustomTestStringConvertible {
  let window: WindowCase
  let outputs: Int
  let images: Int

  init(_ window: WindowCase, outputs: Int, images: Int = 2) {
    self.window = window
    self.outputs = outputs
    self.images = images
  }

  var testDescription: String { "\(window.testDescription), \(outputs) outputs, \(images) images" }
  var imageCount: Int { images * window.imageCount }
  var outCount: Int { images * window.positions * outputs }
  var columns: Int { window.taps * Int(window.window.channels) }

  /// For every product that the convolution sums: offsets in the images, the weight, the outputs.
  func forEachProduct(_ body: (_ x: Int, _ weight: Int, _ y: Int) -> Void) {
    let (channels, offsets) = (Int(window.window.channels), window.offsets)
    for image in 0..<images {
      for (position, taps) in offsets.enumerated() {
        for (tap, offset) in taps.enumerated() {
          guard let offset else { continue }
          for output in 0..<outputs {
            let y = (image * window.positions + position) * outputs + output
            for c in 0..<channels {
              body(
                image * window.imageCount + offset + c, output * columns + tap * channels + c, y)
            }
          }
        }
      }
    }
  }
}

/// On both sides of a vector and a panel (16, 32), of a tile (8), of the depth of a panel (384, in
/// rows of the window and within one), of runs of positions (256, 1024) and a band of them (2048); more
/// images than are padded at a time (43690 floats of one), more weights than stay in cache (65536).
private let cases = [
  Case(WindowCase((5, 6, 3), kernel: (3, 3), padding: (1, 1)), outputs: 32, images: 3),
  Case(WindowCase((7, 5, 5), kernel: (5, 5), padding: (2, 2)), outputs: 17),
  Case(WindowCase((4, 5, 1), kernel: (2, 3), padding: (0, 2)), outputs: 1, images: 5),
  Case(WindowCase((3, 3, 40), kernel: (3, 3), padding: (1, 1)), outputs: 40),
  Case(WindowCase((2, 3, 32), kernel: (1, 1)), outputs: 33, images: 1),
  Case(WindowCase((3, 2, 5), kernel: (1, 1), padding: (1, 1)), outputs: 7),
  Case(WindowCase((7, 6, 3), kernel: (3, 3), stride: (2, 2), padding: (1, 1)), outputs: 18),
  Case(WindowCase((5, 7, 2), kernel: (3, 2), stride: (1, 2)), outputs: 9, images: 4),
  Case(WindowCase((1, 5, 200), kernel: (1, 3), padding: (0, 1)), outputs: 16),
  Case(WindowCase((18, 17, 2), kernel: (3, 3)), outputs: 5),
  Case(WindowCase((5, 5, 1), kernel: (3, 3)), outputs: 4, images: 30),
  Case(WindowCase((6, 5, 1), kernel: (3, 2), stride: (1, 2), padding: (1, 0)), outputs: 48),
  Case(WindowCase((40, 60, 1), kernel: (3, 2)), outputs: 2, images: 1),
  Case(WindowCase((33, 34, 1), kernel: (2, 2), padding: (1, 1)), outputs: 16, images: 1),
  Case(WindowCase((6, 5, 16), kernel: (3, 3), stride: (2, 1), padding: (1, 1)), outputs: 6),
  Case(WindowCase((4, 9, 4), kernel: (2, 4), padding: (0, 3)), outputs: 3, images: 3),
  Case(WindowCase((30, 30, 48), kernel: (1, 1)), outputs: 1, images: 2),
  Case(WindowCase((1, 3, 400), kernel: (1, 2)), outputs: 40),
]

/// Convolutions without unfolded rows against plain sums in double.
@Suite(.enabled(if: ck_has_product() == 1)) struct ConvolutionTests {
  @Test(arguments: cases, [false, true])
  fileprivate func agreesWithPlainSums(_ c: Case, _ accumulate: Bool) {
    var random = TestRandom(seed: 91)
    let x: [Float] = random.array(c.imageCount)
    let weight: [Float] = random.array(c.outputs * c.columns)
    let bias: [Float] = random.array(c.outputs)
    // Not read where it is overwritten.
    let start: [Float] = accumulate ? random.array(c.outCount) : nans(c.outCount)
    for bias in [nil, bias] {
      var expected = (0..<c.outCount).map {
        (accumulate ? Double(start[$0]) : 0) + Double(bias?[$0 % c.outputs] ?? 0)
      }
      c.forEachProduct { expected[$2] += Double(x[$0]) * Double(weight[$1]) }
      let found = convolve(
        c.window.window, outputs: c.outputs, images: c.images, x, weight, bias: bias, start,
        accumulate)
      expectClose(found, expected, terms: c.columns + 2)
    }
  }

  /// The input cotangents of a convolution of stride 1 are one themselves.
  @Test(arguments: cases.filter(\.isTransposable), [false, true])
  fileprivate func transposedAgreesWithPlainSums(_ c: Case, _ accumulate: Bool) {
    var random = TestRandom(seed: 92)
    let b: [Float] = random.array(c.outCount)
    let weight: [Float] = random.array(c.outputs * c.columns)
    let start: [Float] = accumulate ? random.array(c.imageCount) : nans(c.imageCount)
    var expected = start.map { accumulate ? Double($0) : 0 }
    c.forEachProduct { expected[$0] += Double(b[$2]) * Double(weight[$1]) }
    let found = convolve(
      c.transposedWindow, outputs: Int(c.window.window.channels), images: c.images, b, weight,
      isTransposed: true, start, accumulate)
    expectClose(found, expected, terms: c.outputs * c.window.taps + 1)
  }

  @Test(arguments: cases) fileprivate func gradientAgreesWithPlainSumsAndAdds(_ c: Case) {
    var random = TestRandom(seed: 93)
    let x: [Float] = random.array(c.imageCount)
    let b: [Float] = random.array(c.outCount)
    let start: [Float] = random.array(c.outputs * c.columns)
    var expected = start.map(Double.init)
    c.forEachProduct { expected[$1] += Double(x[$0]) * Double(b[$2]) }
    var (found, window) = (start, c.window.window)
    var scratch = nans(ck_convolution_scratch(&window))
    ck_convolution_gradient(&window, c.outputs, c.images, x, b, &found, &scratch)
    expectClose(found, expected, terms: c.images * c.window.positions + 1)
  }

  /// Tangents at some outputs alone, of one to three directions; on both sides of a block of sums (8).
  @Test(arguments: cases.filter(\.hasWholeRows), [1, 2, 3])
  fileprivate func selectedTangentsAgreeWithPlainSums(_ c: Case, _ directions: Int) {
    var random = TestRandom(seed: 95)
    let x: [Float] = random.array(c.imageCount)
    let t: [Float] = random.array(directions * c.imageCount)
    let weight: [Float] = random.array(c.outputs * c.columns)
    let tangents: [[Float]] = (0..<directions).map { _ in random.array(c.outputs * c.columns) }
    let bias: [Float] = random.array(c.outputs)
    let factor: [Float] = random.array(c.outCount)
    // Any position may win any place, more often than once.
    let places = c.window.positions / 2 + 1
    let size = c.window.positions * c.outputs
    let index = (0..<c.images * places * c.outputs).map { i in
      Int32((7 * i + 3 * (i / c.outputs)) % c.window.positions * c.outputs + i % c.outputs)
    }
    for (bias, factor) in [(bias, factor), (nil, nil)] {
      var whole = (0..<directions).map { _ in
        (0..<c.outCount).map { Double(bias?[$0 % c.outputs] ?? 0) }
      }
      c.forEachProduct { at, w, y in
        for r in 0..<directions {
          whole[r][y] +=
            Double(x[at]) * Double(tangents[r][w])
            + Double(t[r * c.imageCount + at]) * Double(weight[w])
        }
      }
      let expected = (0..<directions * index.count).map { i in
        let (r, place) = (i / index.count, i % index.count)
        let at = place / (places * c.outputs) * size + Int(index[place])
        return whole[r][at] * Double(factor?[at] ?? 1)
      }
      let found = select(
        c, directions, places, index, x, t, weight, tangents, bias: bias, factor)
      expectClose(found, expected, terms: 2 * c.columns + 2)
      // A direction's numbers do not depend on those beside it.
      let last = directions - 1
      let alone = select(
        c, 1, places, index, x, Array(t[(last * c.imageCount)...]), weight, [tangents[last]],
        bias: bias, factor)
      #expect(alone == Array(found[(last * index.count)...]))
    }
  }

  private func select(
    _ c: Case, _ directions: Int, _ places: Int, _ index: [Int32], _ x: [Float], _ t: [Float],
    _ weight: [Float], _ tangents: [[Float]], bias: [Float]?, _ factor: [Float]?
  ) -> [Float] {
    var (window, y) = (c.window.window, nans(directions * index.count))
    var scratch = nans(ck_selected_scratch(&window))
    let flat = Vector<Float>(tangents.flatMap { $0 })
    let shared = bias.map { Vector<Float>($0) }
    let pointers: [UnsafePointer<Float>?] = (0..<directions).map {
      UnsafePointer(flat.pointer + $0 * weight.count)
    }
    let biases: [UnsafePointer<Float>?] = (0..<directions).map { _ in
      shared.map { UnsafePointer($0.pointer) }
    }
    withExtendedLifetime((flat, shared)) {
      ck_convolve_selected(
        &window, c.outputs, c.images, directions, places * c.outputs, index, x, t, weight, pointers,
        biases, factor, &y, &scratch)
    }
    return y
  }

  /// An image's numbers do not depend on those that are multiplied with it.
  @Test(arguments: cases) fileprivate func imagesAloneGiveTheSameBits(_ c: Case) {
    var random = TestRandom(seed: 94)
    let x: [Float] = random.array(c.imageCount)
    let weight: [Float] = random.array(c.outputs * c.columns)
    let together = convolve(
      c.window.window, outputs: c.outputs, images: c.images, x, weight, nans(c.outCount), false)
    let size = c.window.imageCount
    let alone = (0..<c.images).flatMap { image in
      convolve(
        c.window.window, outputs: c.outputs, images: 1,
        Array(x[image * size..<(image + 1) * size]), weight, nans(c.outCount / c.images), false)
    }
    #expect(alone == together)
  }

  private func convolve(
    _ window: ck_window, outputs: Int, images: Int, _ x: [Float], _ weight: [Float],
    isTransposed: Bool = false, bias: [Float]? = nil, _ start: [Float], _ accumulate: Bool
  ) -> [Float] {
    var (y, window) = (start, window)
    var scratch = nans(ck_convolution_scratch(&window))
    ck_convolve(
      &window, outputs, images, x, weight, isTransposed ? 1 : 0, bias, accumulate ? 1 : 0, &y,
      &scratch)
    return y
  }

  private func nans(_ count: Int) -> [Float] { Array(repeating: .nan, count: count) }

  /// Each of some terms of at most 1 rounds the sum, which is of the order of the root of their number.
  private func expectClose(
    _ found: [Float], _ expected: [Double], terms: Int,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectUlps(
      found, expected, scale: Array(repeating: Double(terms).squareRoot(), count: found.count),
      within: Double(terms), sourceLocation: sourceLocation)
  }
}

extension Case {
  fileprivate var isTransposable: Bool {
    let w = window.window
    return w.stride_height == 1 && w.stride_width == 1 && w.padding_height < w.kernel_height
      && w.padding_width < w.kernel_width
  }

  fileprivate var hasWholeRows: Bool {
    Int(window.window.kernel_width * window.window.channels) % 16 == 0
  }

  fileprivate var transposedWindow: ck_window {
    let w = window.window
    return ck_window(
      height: w.out_height, width: w.out_width, channels: outputs, kernel_height: w.kernel_height,
      kernel_width: w.kernel_width, stride_height: 1, stride_width: 1,
      padding_height: w.kernel_height - 1 - w.padding_height,
      padding_width: w.kernel_width - 1 - w.padding_width, dilation_height: 1, dilation_width: 1,
      groups: 1, out_height: w.height, out_width: w.width)
  }
}
