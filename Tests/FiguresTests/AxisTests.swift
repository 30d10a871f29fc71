import Foundation
import TestSupport
import Testing

@testable import Figures

/// What axes hold, and what goes off them.
@Suite struct AxisTests {
  private func curve(_ label: String, _ values: [Double]) -> Curve {
    Curve(
      label: label, style: CurveStyle(color: .blue, marker: .square),
      points: values.enumerated().map {
        .init(x: Double($0), y: $1, deviation: nil, range: nil, batches: 1)
      })
  }

  private func panel(_ curves: [Curve]) -> Panel {
    .curves(
      "p", x: .linear("x", holding: [0, 1, 2]), y: "y", curves,
      guides: [Guide(label: "one", level: 1, style: .guide)])
  }

  private let near = ["a", "b", "c"].enumerated().map { ($1, [0.5, 0.6, 0.7 + Double($0) / 10]) }

  /// One method at a million would leave the others a tenth of the height.
  @Test func aCurveThatWouldFlattenTheOthersGoesOffTheScale() throws {
    let far = curve("far", [0.6, 1e3, 1e6])
    let (panels, notes) = [panel(near.map(curve) + [far])].sharingHeight()
    let axis = panels[0].y
    #expect(axis.high < 10 && axis.low > 0.1)
    #expect(notes == ["far goes off the scale, to 1e+06."])
    let marks = OffScale.marks(of: panels[0])
    #expect(marks.map(\.label) == ["far"])
    #expect(marks[0].points.map(\.value) == [1e3, 1e6])
    #expect(marks[0].points[marks[0].farthest].value == 1e6)
    for point in marks[0].points {
      #expect(point.from < point.to && point.to < axis.high, "an arrow upwards, within the axes")
      #expect(point.from > 1, "above what the others need")
    }
    // The script has the arrows and the value, and the curve's own points within the axes are marks.
    let script = GnuplotScript(page: figure(panels), panel: 0)
    #expect(script.script.contains("every ::1::1"))
    #expect(script.elements[0].filter { $0.entry == "far" }.map(\.values.count) == [1, 0, 0])
  }

  @Test func belowItIsTheSame() {
    let (panels, notes) = [panel(near.map(curve) + [curve("far", [1e-9, 0.5, 0.5])])]
      .sharingHeight()
    #expect(panels[0].y.low > 0.05 && notes == ["far goes off the scale, to 1e-09."])
    let point = OffScale.marks(of: panels[0])[0].points[0]
    #expect(point.from > point.to && point.to > panels[0].y.low)
  }

  /// What all have in common is no outlier, nor is what a picture can show.
  @Test func axesHoldWhatIsNotFarFromTheRest() {
    for values in [[0.6, 5, 400], [0.5, 0.9, 1.2]] {
      let (panels, notes) = [panel(near.map(curve) + [curve("ef", values)])].sharingHeight()
      #expect(notes == [] && OffScale.marks(of: panels[0]).isEmpty, "\(values)")
    }
    let spread = (0..<6).map { curve("m\($0)", [pow(10, Double($0))]) }
    #expect([panel(spread)].sharingHeight().notes == [])
    #expect([panel([curve("alone", [1e9])])].sharingHeight().notes == [], "of one curve")
  }

  @Test func panelsOfOneQuantityShareTheirAxis() throws {
    let set = try FigureSet(results(of: ResultsDraft()))
    for name in ["damping", "methods"] {
      let figure = try #require(set.figures.first { $0.name == name })
      #expect(
        Set(figure.panels.map(\.y.low)).count == 1 && Set(figure.panels.map(\.y.high)).count == 1)
    }
    let training = try #require(set.figures.first { $0.name == "training" })
    #expect(training.panels[0].y == training.panels[1].y)
    #expect(training.panels[0].y != training.panels[2].y, "another ratio")
    let reference = try #require(set.figures.first { $0.name == "reference" })
    #expect(Set(reference.panels.map(\.x.high)).count == 1)
  }

  // MARK: - Marks

  @Test(arguments: [
    ([1e-7, 1e-5, 1e-3, 0.1], ["1e-7", "1e-5", "1e-3", "1e-1"]),
    ([0.1, 1, 10], ["0.1", "1", "10"]),
    ([0, 5000, 10000], ["0", "5000", "10000"]), ([0, 500_000, 1e6], ["0", "5e5", "1e6"]),
    ([1, 1e6], ["1e0", "1e6"]), ([-2, 0, 2], ["-2", "0", "2"]),
  ])
  func anAxisHasOneFormat(_ values: [Double], _ labels: [String]) {
    #expect(Axis.labels(values) == labels)
  }

  @Test func axesHaveSeveralNumbers() {
    for span in [0.3, 0.5, 1, 2, 3, 7, 20, 300.0] {
      let axis = Axis.logarithmic("x", holding: [1.3, 1.3 * pow(10, span)])
      #expect((axis.ticks ?? []).count { !$0.label.isEmpty } >= 2, "\(span)")
    }
    for end in [1, 3, 40, 1e4, 1e7] {
      let labels = (Axis.linear("x", holding: [0, end]).ticks ?? []).map(\.label)
      #expect(labels.count >= 2 && labels.count <= 11, "\(end): \(labels)")
    }
  }

  @Test func epochsAreMarkedWhereTheyAre() {
    func ticks(_ epochs: [Double]) -> [String] {
      (Stages(epochs.map { Place(checkpoint: "\($0)", epoch: $0, batch: "0") }).axis.ticks ?? [])
        .map(\.label)
    }
    #expect(ticks([0, 2, 4, 6, 8]) == ["0", "2", "4", "6", "8"])
    #expect(ticks([7]) == ["7"])
    #expect(ticks([0, 1, 3, 40]) == ["0", "10", "20", "30", "40"], "0 and 1 would meet")
    #expect(ticks((0..<60).map(Double.init)).count < 12)
  }

  // MARK: - Layout

  private func figure(_ panels: [Panel]) -> Figure {
    Figure(name: "f", title: "t", caption: "c", panels: panels)
  }

  @Test func panelsHaveAxesOfOneLength() throws {
    for figure in try FigureSet(results(of: ResultsDraft())).figures {
      let layout = FigureLayout(figure)
      let boxes = figure.panels.indices.map(layout.axes)
      #expect(Set(boxes.map { $0.right - $0.left }).count == 1, "\(figure.name)")
      for box in boxes {
        #expect(box.left > 0 && box.right < layout.width && box.bottom < layout.height)
      }
      // 9 points are 12 pixels, at 0.76 of the width on a page and at 7 inches of paper.
      #expect(Double(FigureLayout.font) * 0.76 >= 12)
      let perPanel = Double(layout.width) / Double(layout.columns)
      if perPanel == 420 { #expect(Double(FigureLayout.font) * 504 / 840 >= 9) }
    }
  }

  @Test func oneLegendStandsBelowOrInTheFreePlace() {
    let curves = near.map(curve)
    let (two, three) = (
      figure([panel(curves), panel(curves)]), figure(Array(repeating: panel(curves), count: 3))
    )
    #expect(two.legend.map(\.label) == ["one", "a", "b", "c"])
    let below = FigureLayout(two)
    #expect(below.key!.top >= below.axes(0).bottom && below.key!.bottom == below.height)
    let free = FigureLayout(three)
    #expect(free.key!.left == 420 && free.key!.top > free.axes(1).bottom)
    #expect(
      GnuplotScript(three, formats: [.svg]).script.components(separatedBy: "set key ").count == 2)
    #expect(figure([panel([])]).legend.isEmpty, "a title says what one line is")
  }

  /// Names below an axis end at their marks, and have room to their left.
  @Test func slantedNamesStayInTheirPanel() {
    let names = (0..<8).map { "checkpoint-\($0).safetensors" }
    var long = panel(near.map(curve))
    long.x = Stages(names.map { Place(checkpoint: $0, batch: "0") }).axis
    #expect(FigureLayout.isSlanted(long.x))
    let layout = FigureLayout(figure([long]))
    // 24 characters of 9 pixels at 45 degrees.
    let reach = 24.0 * 9 * 0.5.squareRoot()
    #expect(Double(layout.axes(0).left) >= reach)
    #expect(Double(layout.height - layout.axes(0).bottom) >= reach)
    #expect(GnuplotScript(figure([long]), formats: [.svg]).script.contains("rotate by 45 right"))
  }
}
