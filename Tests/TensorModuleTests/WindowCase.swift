import CKernels
import Testing

/// A window over an image, and what it sees.
struct WindowCase: CustomTestStringConvertible {
  var window: ck_window
  var testDescription: String {
    let w = window
    return """
      [\(w.height), \(w.width), \(w.channels)] kernel \(w.kernel_height)x\(w.kernel_width) \
      stride \(w.stride_height)x\(w.stride_width) padding \(w.padding_height)x\(w.padding_width) \
      dilation \(w.dilation_height)x\(w.dilation_width) groups \(w.groups)
      """
  }

  init(
    _ image: (Int, Int, Int), kernel: (Int, Int), stride: (Int, Int) = (1, 1),
    padding: (Int, Int) = (0, 0), dilation: (Int, Int) = (1, 1), groups: Int = 1
  ) {
    func out(_ n: Int, _ k: Int, _ s: Int, _ p: Int, _ d: Int) -> Int {
      (n + 2 * p - d * (k - 1) - 1) / s + 1
    }
    window = ck_window(
      height: image.0, width: image.1, channels: image.2, kernel_height: kernel.0,
      kernel_width: kernel.1, stride_height: stride.0, stride_width: stride.1,
      padding_height: padding.0, padding_width: padding.1, dilation_height: dilation.0,
      dilation_width: dilation.1, groups: groups,
      out_height: out(image.0, kernel.0, stride.0, padding.0, dilation.0),
      out_width: out(image.1, kernel.1, stride.1, padding.1, dilation.1))
  }

  var imageCount: Int { Int(window.height * window.width * window.channels) }
  var positions: Int { Int(window.out_height * window.out_width) }
  var taps: Int { Int(window.kernel_height * window.kernel_width) }
  var rowCount: Int { positions * taps * Int(window.channels) }
  var outCount: Int { positions * Int(window.channels) }

  /// For each output position, the offset in the image (channel 0) of each tap, nil outside.
  var offsets: [[Int?]] {
    let w = window
    return (0..<positions).map { position in
      let (oh, ow) = (position / Int(w.out_width), position % Int(w.out_width))
      return (0..<taps).map { tap in
        let (kh, kw) = (tap / Int(w.kernel_width), tap % Int(w.kernel_width))
        let h = oh * Int(w.stride_height) + kh * Int(w.dilation_height) - Int(w.padding_height)
        let x = ow * Int(w.stride_width) + kw * Int(w.dilation_width) - Int(w.padding_width)
        guard (0..<Int(w.height)).contains(h), (0..<Int(w.width)).contains(x) else { return nil }
        return (h * Int(w.width) + x) * Int(w.channels)
      }
    }
  }
}
