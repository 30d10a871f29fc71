/// The scale of colours of a map: blue below, orange above, light in the middle.
enum Palette {
  struct RGB: Equatable {
    var red: Int
    var green: Int
    var blue: Int

    var hexadecimal: String {
      "#" + [red, green, blue].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
  }

  /// From -1 to 1, at even steps.
  static let stops = [
    RGB(red: 0x08, green: 0x51, blue: 0x9c), RGB(red: 0x6b, green: 0xae, blue: 0xd6),
    RGB(red: 0xf7, green: 0xf7, blue: 0xf7), RGB(red: 0xfd, green: 0xae, blue: 0x6b),
    RGB(red: 0xa6, green: 0x36, blue: 0x03),
  ]

  /// How far from the middle text on it has to be light.
  static let darkness = 0.7

  /// - Parameter place: From -1 to 1.
  static func color(_ place: Double) -> RGB {
    let position = (min(max(place, -1), 1) + 1) / 2 * Double(stops.count - 1)
    let index = min(Int(position), stops.count - 2)
    let part = position - Double(index)
    func mixed(_ channel: KeyPath<RGB, Int>) -> Int {
      let (a, b) = (
        Double(stops[index][keyPath: channel]), Double(stops[index + 1][keyPath: channel])
      )
      return Int((a + (b - a) * part).rounded())
    }
    return RGB(red: mixed(\.red), green: mixed(\.green), blue: mixed(\.blue))
  }
}
