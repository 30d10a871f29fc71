import CKernels
import Testing

@testable import TensorModule

/// Which sizes make a window: kernels look at none of them again.
struct WindowSizeTests {
  /// Whether a window of these sizes exists, by trying every place along an axis.
  private func places(
    _ size: Int, kernel: Int, stride: Int, padding: Int, dilation: Int
  ) -> Int? {
    guard size > 0, kernel > 0, stride > 0, dilation > 0, padding >= 0 else { return nil }
    let taps = (0..<kernel).map { $0 * dilation }
    guard padding <= taps.last! + 1 else { return nil }
    var count = 0
    for start in Swift.stride(from: -padding, through: size + padding, by: stride)
    where start + taps.last! < size + padding { count += 1 }
    return count > 0 ? count : nil
  }

  @Test func outputsAreThePlacesThatANaiveLoopFinds() {
    let ranges = (
      sizes: [-1, 0, 1, 2, 5], kernels: [0, 1, 2, 3], strides: [0, 1, 2, 7],
      paddings: [-1, 0, 1, 2, 3, 6], dilations: [0, 1, 3]
    )
    for size in ranges.sizes {
      for kernel in ranges.kernels {
        for stride in ranges.strides {
          for padding in ranges.paddings {
            for dilation in ranges.dilations {
              let expected = places(
                size, kernel: kernel, stride: stride, padding: padding, dilation: dilation)
              let window = Window(
                image: (size, 4, 3), kernel: (kernel, 1), stride: (stride, 1),
                padding: (padding, 0), dilation: (dilation, 1))
              #expect(
                window?.outHeight == expected,
                "size \(size) kernel \(kernel) stride \(stride) padding \(padding) \(dilation)")
            }
          }
        }
      }
    }
  }

  /// Sizes that leave 31, 63 or 64 bits, or whose products do, along either axis.
  @Test(arguments: [Int(Int32.max), 1 << 31, 1 << 32, 1 << 62, Int.max])
  func whatNoMemoryHoldsIsNoWindow(huge: Int) {
    #expect(Window(image: (huge, huge, 1), kernel: (1, 1)) == nil)
    #expect(Window(image: (1, huge, 2), kernel: (1, 1)) == nil)
    #expect(Window(image: (1, 1, 2), kernel: (huge, huge), padding: (huge, huge)) == nil)
    #expect(
      Window(image: (2, 2, 1), kernel: (2, 2), padding: (huge, 0), dilation: (huge, 1)) == nil)
    #expect(Window(image: (8, 8, 1), kernel: (3, 3), padding: (huge, 0)) == nil)
    #expect(Window(image: (8, 8, 1), kernel: (3, 3), padding: (0, huge)) == nil)
    #expect(Window(image: (4, 4, huge), kernel: (1, 1), groups: huge) == nil)
    // A stride beyond the image visits one place.
    let strided = Window(image: (8, 8, 1), kernel: (3, 3), stride: (huge, 1))
    #expect(strided?.outHeight == (huge == Int(Int32.max) ? 1 : nil))
  }

  @Test func productsOfSizesCount() {
    // 2^31 numbers in the image, in the padded image alone, in the unfolded rows alone.
    #expect(Window(image: (1 << 15, 1 << 16, 1), kernel: (1, 1)) == nil)
    #expect(Window(image: (1 << 15, (1 << 16) - 1, 1), kernel: (1, 1)) != nil)
    #expect(
      Window(image: (1, 1, 1), kernel: (1, 1 << 30), stride: (1, 1 << 30), padding: (0, 1 << 29))
        != nil)
    #expect(
      Window(
        image: (2, 1, 1), kernel: (2, 1 << 30), stride: (2, 1 << 30), padding: (1, 1 << 29)) == nil)
    #expect(Window(image: (256, 256, 1), kernel: (128, 128)) != nil)
    #expect(Window(image: (1024, 1024, 1), kernel: (512, 512)) == nil)
  }

  @Test func groupsDivideTheChannels() {
    #expect(Window(image: (4, 4, 6), kernel: (2, 2), groups: 3) != nil)
    #expect(Window(image: (4, 4, 6), kernel: (2, 2), groups: 4) == nil)
    #expect(Window(image: (4, 4, 6), kernel: (2, 2), groups: 0) == nil)
  }

  /// The check beside the kernels does not rest on who made the window.
  @Test func aWindowWithAnyOtherSizeIsNotSound() {
    let window = WindowCase(
      (7, 5, 4), kernel: (3, 2), stride: (2, 3), padding: (1, 1), dilation: (1, 2), groups: 2
    ).window
    func isSound(_ change: (inout ck_window) -> Void) -> Bool {
      var changed = window
      change(&changed)
      return ck_window_is_sound(&changed) == 1
    }
    #expect(isSound { _ in })
    #expect(!isSound { $0.out_height += 1 })
    #expect(!isSound { $0.out_width = 0 })
    #expect(!isSound { $0.padding_height = 4 })
    #expect(!isSound { $0.padding_width = 1 << 31 })
    #expect(!isSound { $0.groups = 3 })
    #expect(!isSound { $0.channels = 0 })
    #expect(!isSound { $0.stride_width = 0 })
    #expect(!isSound { $0.dilation_height = 1 << 62 })
    #expect(!isSound { $0.kernel_width = -1 })
    #expect(!isSound { $0.height = 1 << 33 })
  }
}
