import Testing
import Updates

@testable import Figures

/// What methods look like.
@Suite struct StyleTests {
  private func variant(_ method: String, run: String? = nil, draws: Int? = nil) -> Variant {
    Variant(
      method: method, family: String(method.prefix { !"@:".contains($0) }), draws: draws, run: run)
  }

  private func look(_ style: CurveStyle) -> String { "\(style.marker) \(style.dash)" }

  @Test func everyMethodHasALookOfItsOwn() {
    for method in UpdateMethod.named {
      #expect(CurveStyle.named[method.name] != nil, "\(method.name)")
    }
    #expect(
      Set(CurveStyle.named.keys) == Set(UpdateMethod.named.map(\.name)), "and nothing else has")
    #expect(Set(CurveStyle.named.values.map(look)).count == CurveStyle.named.count)
  }

  /// Without colour: 64 is what a figure shows at most.
  @Test func sixtyFourMethodsAreToldApartByMarkerAndDash() {
    let files = (0..<62).map { variant("update:run \($0)") }
    let styles = MethodStyles([variant("sgd"), variant("ef")] + files)
    let looks = Set(([variant("sgd"), variant("ef")] + files).map { look(styles[$0]) })
    #expect(looks.count == 64)
    let named = UpdateMethod.named.map { variant($0.name) }
    let others = (3..<20).map { variant("ng@\($0)") } + (0..<10).map { variant("update:\($0)") }
    let all = MethodStyles(named + others)
    #expect(Set((named + others).map { look(all[$0]) }).count == named.count + others.count)
  }

  /// A method of a list looks the same whatever else is there, a direction from a file unless
  /// another wants its place; the order of the table is nothing.
  @Test func looksDoNotDependOnWhatElseIsDrawn() {
    let names = ["sgd", "ef", "ief", "kfac@reduce", "ng@5", "update:lion", "update:adamw", "sign"]
    let all = MethodStyles(names.map { variant($0) })
    for name in names {
      #expect(MethodStyles([variant(name)])[variant(name)] == all[variant(name)], "\(name)")
    }
    let reversed = MethodStyles(names.reversed().map { variant($0) })
    for name in names { #expect(reversed[variant(name)] == all[variant(name)]) }
    #expect(all[variant("ief")] == CurveStyle.named["ief"])
    #expect(all[variant("ng@5")].color == CurveStyle.named["ng"]?.color, "kin share a colour")
  }

  @Test func runsShareTheColourOfAMethod() {
    let variants = ["a", "b", "c"].flatMap { run in
      ["ef", "ief"].map { variant($0, run: run) }
    }
    let styles = MethodStyles(variants)
    #expect(styles[variants[0]] == CurveStyle.named["ef"], "the first run looks as one alone")
    for index in variants.indices {
      #expect(styles[variants[index]].color == styles[variants[index % 2]].color)
    }
    #expect(Set(variants.map { look(styles[$0]) }).count == 6)
  }

  @Test func coloursOfMapsGoFromBlueToOrangeThroughLight() {
    #expect(Palette.color(0).hexadecimal == "#f7f7f7")
    #expect(
      Palette.color(-1).hexadecimal == "#08519c" && Palette.color(-7).hexadecimal == "#08519c")
    #expect(Palette.color(1).hexadecimal == "#a63603")
    #expect(Palette.color(0.25) == Palette.RGB(red: 250, green: 211, blue: 177), "half of the way")
  }
}
