/// A table to be shown: texts in columns, and the numbers behind them. Nothing here knows how it is shown.
struct DataTable {
  struct Column {
    var title: String
    /// Whether it stands to the right.
    var isNumber = false
  }

  struct Cell {
    var text: String
    /// What it is sorted by, with all digits; `nil` goes by the text.
    var value: Double?
    /// Around the number, for digits to stay below digits.
    var before = ""
    var after = ""
    var emphasis = Emphasis.none

    init(_ text: String, _ value: Double? = nil) {
      self.text = text
      self.value = value.flatMap { $0.isNaN ? nil : $0 }
    }

    var whole: String { before + text + after }
  }

  enum Emphasis {
    case none
    case best
    case worse
  }

  /// What it shows, in a line.
  var caption: String
  var columns: [Column]
  /// Each of as many cells.
  var rows: [[Cell]] = []
  /// Whether a reader may want its rows in another order.
  var isSortable = true

  init(_ caption: String, words: [String] = [], numbers: [String] = []) {
    self.caption = caption
    columns = words.map { Column(title: $0) } + numbers.map { Column(title: $0, isNumber: true) }
  }
}
