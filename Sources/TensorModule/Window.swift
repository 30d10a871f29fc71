import CKernels

/// A window that moves over a channels-last image, with every size checked: the only one that
/// kernels are given. Nothing that they form of its sizes leaves 31 bits: the image, the padded image,
/// the row of one output and those of all outputs.
public struct Window: Sendable {
  let sizes: ck_window

  /// - Parameters:
  ///   - image: Height, width and channels.
  ///   - padding: At most the kernel with its dilation, on both sides of the image: beyond that, all
  ///     that more of it brings is windows that see nothing.
  /// - Returns: `nil` where a size is not positive or the padding is negative or too large, where the
  ///   groups do not divide the channels, where no window fits, or where there are 2^31 numbers or
  ///   more.
  public init?(
    image: (height: Int, width: Int, channels: Int), kernel: (Int, Int),
    stride: (Int, Int) = (1, 1),
    padding: (Int, Int) = (0, 0), dilation: (Int, Int) = (1, 1), groups: Int = 1
  ) {
    guard
      let height = Self.outputs(image.height, kernel.0, stride.0, padding.0, dilation.0),
      let width = Self.outputs(image.width, kernel.1, stride.1, padding.1, dilation.1),
      image.channels > 0, groups > 0
    else { return nil }
    sizes = ck_window(
      height: image.height, width: image.width, channels: image.channels, kernel_height: kernel.0,
      kernel_width: kernel.1, stride_height: stride.0, stride_width: stride.1,
      padding_height: padding.0, padding_width: padding.1, dilation_height: dilation.0,
      dilation_width: dilation.1, groups: groups, out_height: height, out_width: width)
    if withUnsafePointer(to: sizes, { ck_window_is_sound($0) }) == 0 { return nil }
  }

  private init(sizes: ck_window) { self.sizes = sizes }

  /// A window of one pixel on an image of one pixel.
  public static let onePixel = Window(
    sizes: ck_window(
      height: 1, width: 1, channels: 1, kernel_height: 1, kernel_width: 1, stride_height: 1,
      stride_width: 1, padding_height: 0, padding_width: 0, dilation_height: 1, dilation_width: 1,
      groups: 1, out_height: 1, out_width: 1))

  /// Length of a kernel with its dilation along one axis; `nil` beyond 31 bits or for sizes that are
  /// not positive.
  public static func extent(kernel: Int, dilation: Int) -> Int? {
    guard kernel > 0, dilation > 0, kernel <= bound, dilation <= bound else { return nil }
    let extent = (kernel - 1) * dilation + 1
    return extent <= bound ? extent : nil
  }

  /// Places of a window along one axis; `nil` if there is none, or for sizes out of range.
  public static func outputs(
    _ size: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int
  ) -> Int? {
    guard let extent = extent(kernel: kernel, dilation: dilation), size > 0, size <= bound,
      stride > 0, stride <= bound, padding >= 0, padding <= extent
    else { return nil }
    let free = size + 2 * padding - extent
    return free < 0 ? nil : free / stride + 1
  }

  private static let bound = Int(Int32.max)
}

extension Window {
  /// Of the image.
  public var height: Int { sizes.height }
  /// Of the image.
  public var width: Int { sizes.width }
  /// Of the image.
  public var channels: Int { sizes.channels }
  /// Rows of the window.
  public var kernelHeight: Int { sizes.kernel_height }
  /// Columns of the window.
  public var kernelWidth: Int { sizes.kernel_width }
  /// Rows from one place to the next.
  public var strideHeight: Int { sizes.stride_height }
  /// Columns from one place to the next.
  public var strideWidth: Int { sizes.stride_width }
  /// Rows of zeros above and below.
  public var paddingHeight: Int { sizes.padding_height }
  /// Columns of zeros on either side.
  public var paddingWidth: Int { sizes.padding_width }
  /// Rows from one entry of the window to the next.
  public var dilationHeight: Int { sizes.dilation_height }
  /// Columns from one entry of the window to the next.
  public var dilationWidth: Int { sizes.dilation_width }
  /// Parts into which the channels are divided.
  public var groups: Int { sizes.groups }
  /// Places of the window from top to bottom.
  public var outHeight: Int { sizes.out_height }
  /// Places of the window from left to right.
  public var outWidth: Int { sizes.out_width }
}
