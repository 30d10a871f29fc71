import Foundation

/// Reverses the bytes of every element.
func swapBytes(_ buffer: UnsafeMutableRawBufferPointer, elementSize: Int) {
  func swap<I: FixedWidthInteger>(_: I.Type) {
    let elements = buffer.bindMemory(to: I.self)
    for index in elements.indices { elements[index] = elements[index].byteSwapped }
  }
  switch elementSize {
  case 2: swap(UInt16.self)
  case 4: swap(UInt32.self)
  case 8: swap(UInt64.self)
  default: break
  }
}

/// Whether these strides, in elements, are those of an array whose last index runs fastest. What
/// the stride of a dimension of one element is does not matter.
func isRowMajor(_ shape: [Int], _ strides: [Int]) -> Bool {
  var expected = 1
  for (dimension, stride) in zip(shape, strides).reversed() where dimension != 1 {
    if stride != expected { return false }
    expected *= dimension
  }
  return true
}

/// A copy with the last index running fastest of the array that begins at the first byte and has
/// these strides, in elements. The caller has checked that it stays inside the bytes.
func gathered(
  _ bytes: UnsafeRawBufferPointer, shape: [Int], strides: [Int], elementSize: Int
) -> OwnedBytes {
  OwnedBytes(count: shape.reduce(elementSize, *)) { target in
    // The stride of a dimension of one element is never used, and may be anything.
    let axes = zip(shape, strides).filter { $0.0 != 1 }
    let last = axes.map { $0.0 - 1 }
    let strides = axes.map { $0.1 }
    func copy<I: FixedWidthInteger & BitwiseCopyable>(_: I.Type) {
      let to = target.bindMemory(to: I.self)
      let size = MemoryLayout<I>.size
      // `index` counts like an odometer, `position` follows it in the source and never leaves it.
      var index = [Int](repeating: 0, count: last.count)
      var position = 0
      for output in to.indices {
        to[output] = bytes.loadUnaligned(fromByteOffset: position * size, as: I.self)
        for axis in last.indices.reversed() {
          if index[axis] < last[axis] {
            index[axis] += 1
            position += strides[axis]
            break
          }
          position -= strides[axis] * last[axis]
          index[axis] = 0
        }
      }
    }
    switch elementSize {
    case 1: copy(UInt8.self)
    case 2: copy(UInt16.self)
    case 4: copy(UInt32.self)
    default: copy(UInt64.self)
    }
  }
}
