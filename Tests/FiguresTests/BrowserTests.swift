import Foundation
import TestSupport
import Testing

@testable import Figures

/// The page in a browser: with a pointer, with keys, on paper, on a phone, in the dark and without its
/// script.
@Suite(
  .serialized,
  .enabled(
    if: Browser.path != nil, "no Chromium on the PATH (Debian: chromium-headless-shell)"))
struct BrowserTests {
  /// The page of a draft, open.
  private func withPage(
    _ draft: ResultsDraft? = nil, width: Int = 1280, prepare: (Browser) throws -> Void = { _ in },
    _ body: (Browser) throws -> Void
  ) throws {
    try inFolder { folder in
      let read = try results(of: draft ?? ResultsDraft())
      let figures = try FigureSet(read)
      let pictures = try PanelPictures(figures.figures, with: Gnuplot())
      let file = folder.appendingPathComponent("page.html")
      try Data(ResultsPage(read, figures, pictures).html.utf8).write(to: file)
      let browser = try Browser(in: folder)
      try prepare(browser)
      try browser.show(file, width: width)
      try body(browser)
      #expect(browser.complaints == [])
    }
  }

  @Test func aPointerAndKeysShowValues() throws {
    try withPage { browser in
      let mark = "document.querySelector('#training [data-entry=ief] [data-value]')"
      try browser.point(at: mark)
      #expect(try browser.isTrue("!document.querySelector('#value').hidden"))
      let shown = try browser.text("document.querySelector('#value').textContent")
      #expect(shown == "ief: 0.375 at 0, from 0.275 to 0.475 in the middle of 2 batches")
      try browser.press("Escape", code: 27)
      #expect(try browser.isTrue("document.querySelector('#value').hidden"))
      // From mark to mark by the arrow keys, once the picture has the focus.
      _ = try browser.value("document.querySelector('#training figure svg').focus()")
      try browser.press("ArrowRight", code: 39)
      #expect(
        try browser.text("document.querySelector('#value').textContent").hasPrefix("ef: 0.75 at 0"))
      try browser.press("ArrowRight", code: 39)
      #expect(
        try browser.text("document.querySelector('#value').textContent").hasPrefix("ef: 1.5 at 1"))
      // Bars and cells of maps have values as well.
      for section in ["efficiency", "layers-tensor"] {
        try browser.point(at: "document.querySelector('#\(section) [data-value]')")
        let own = try browser.text(
          "document.querySelector('#\(section) [data-value]').dataset.value")
        #expect(try browser.text("document.querySelector('#value').textContent") == own)
      }
    }
  }

  @Test func aPressOnTheLegendHidesAMethodEverywhere() throws {
    try withPage { browser in
      func seen(_ entry: String) throws -> [Double] {
        try ["training", "damping", "methods"].map {
          try browser.number(
            "[...document.querySelectorAll('#\($0) svg [data-entry=\"\(entry)\"]')]"
              + ".filter(it => it.getClientRects().length).length")
        }
      }
      let entry = "document.querySelector('#methods .legend [data-entry=ief] button')"
      #expect(try seen("ief").allSatisfy { $0 > 0 })
      try browser.click(entry)
      #expect(try seen("ief") == [0, 0, 0])
      #expect(try seen("ef").allSatisfy { $0 > 0 })
      #expect(try browser.text("\(entry).getAttribute('aria-pressed')") == "false")
      // A hidden curve has no values to show.
      #expect(
        try browser.isTrue(
          "[...document.querySelectorAll('#damping .off [data-value]')].length > 0"))
      // By keyboard.
      _ = try browser.value("\(entry).focus()")
      try browser.press("Enter", text: "\r", code: 13)
      #expect(try seen("ief").allSatisfy { $0 > 0 })
      try browser.press(" ", text: " ", code: 32)
      #expect(try seen("ief") == [0, 0, 0])
      // With the shift key, all others.
      try browser.click(entry, modifiers: 8)
      #expect(try seen("ief").allSatisfy { $0 > 0 })
      #expect(try seen("ef") == [0, 0, 0])
    }
  }

  @Test func tablesSortByTheirHeaders() throws {
    try withPage { browser in
      _ = try browser.value(
        "window.table = [...document.querySelectorAll('#scores table')].find(it => it.tBodies[0]"
          + ".rows.length > 3); window.table.closest('details')?.setAttribute('open', '')")
      // The column of γ, by what stands above it.
      let column =
        "[...window.table.tHead.rows[0].cells].findIndex(it => it.textContent.startsWith('γ'))"
      let cells =
        "[...window.table.tBodies[0].rows].map(row => (c => c.dataset.value || c.textContent)"
        + "(row.cells[\(column)])).map(parseFloat)"
      let head = "window.table.tHead.rows[0].cells[\(column)].querySelector('button')"
      func values() throws -> [Double] {
        (try browser.value(cells) as? [Any] ?? []).compactMap { ($0 as? NSNumber)?.doubleValue }
      }
      let before: [Double] = try values()
      #expect(before.count > 3 && before != before.sorted())
      try browser.click(head)
      #expect(try values() == before.sorted())
      _ = try browser.value("\(head).focus()")
      try browser.press("Enter", text: "\r", code: 13)
      #expect(try values() == before.sorted(by: >))
      #expect(try browser.text("\(head).closest('th').ariaSort") == "descending")
      try browser.click(head)
      #expect(try values() == before, "as it came")
    }
  }

  @Test func prints() throws {
    try withPage { browser in
      let folded = "document.querySelectorAll('main details:not([open])').length"
      _ = try browser.value(
        "addEventListener('beforeprint', () => { window.left = "
          + "[...document.querySelectorAll('#scores details:not([open])')].length })")
      let before = try browser.number(folded)
      let answer = try browser.call("Page.printToPDF", ["printBackground": true])
      let pdf = try #require(Data(base64Encoded: answer["data"] as? String ?? ""))
      #expect(pdf.starts(with: Data("%PDF".utf8)) && pdf.count > 50_000)
      #expect(try browser.number("window.left") == 0, "tables were open")
      #expect(try browser.number(folded) == before, "and are as before")
    }
  }

  /// 9 points are 12 pixels.
  @Test(arguments: [1280, 800, 390, 340])
  func textIsReadableAndNothingIsCut(_ width: Int) throws {
    try withPage(width: width) { browser in
      let size = try browser.number(
        "Math.min(...[...document.querySelectorAll('figure svg text')].map(it => "
          + "parseFloat(it.closest('[font-size]').getAttribute('font-size')) * "
          + "it.ownerSVGElement.getBoundingClientRect().width / it.ownerSVGElement.viewBox.baseVal.width))"
      )
      #expect(size >= 12, "\(size)")
      #expect(try browser.number("document.documentElement.scrollWidth") <= Double(width))
      let cut = try browser.text(
        "[...document.querySelectorAll('figure svg text')].filter(it => { const a = "
          + "it.getBoundingClientRect(), b = it.ownerSVGElement.getBoundingClientRect(); return "
          + "a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1 })"
          + ".map(it => it.textContent).join('; ')")
      #expect(cut == "")
    }
  }

  @Test func followsTheDark() throws {
    func brightness(_ scheme: String) throws -> Double {
      var value = 0.0
      func darken(_ browser: Browser) throws {
        try browser.call(
          "Emulation.setEmulatedMedia",
          ["features": [["name": "prefers-color-scheme", "value": scheme]]])
      }
      try withPage(prepare: darken) { (browser: Browser) throws in
        value = try browser.number(
          "parseInt(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])")
        let ink = try browser.number(
          "parseInt(getComputedStyle(document.querySelector('figure svg')).color.match(/[0-9]+/)[0])"
        )
        #expect(abs(ink - value) > 150, "pictures are seen")
      }
      return value
    }
    #expect(try brightness("dark") < 40)
    #expect(try brightness("light") > 240)
  }

  @Test func withoutItsScriptThePageShowsEverything() throws {
    func disable(_ browser: Browser) throws {
      try browser.call("Emulation.setScriptExecutionDisabled", ["value": true])
    }
    try withPage(prepare: disable) { (browser: Browser) throws in
      #expect(try browser.isTrue("!document.querySelector('button, #value')"))
      #expect(try browser.isTrue("document.querySelector('.legend').textContent.includes('ief')"))
      #expect(try browser.number("document.querySelectorAll('figure svg').length") == 20)
      #expect(
        try browser.text(
          "document.querySelector('#training [data-entry=ief] use title').textContent"
        )
        .hasPrefix("ief: 0.375 at 0"))
    }
  }

  @Test func namesAreOnlyText() throws {
    let draft = try ResultsDraft(checkpoints: DrawingTests.hostile, hasEpochs: false)
    try draft.edit("scores.csv") { text in
      text = text.replacingOccurrences(
        of: ",kfac,1e-3,", with: ",\"update:<img src=x onerror=alert(1)> '\"\" ] @_\\\",1e-3,")
    }
    try withPage(draft) { browser in
      #expect(try browser.isTrue("!document.querySelector('img')"))
      let entry =
        "[...document.querySelectorAll('.legend button')].find(it => it.textContent.includes('<img') || it.textContent.includes('@_'))"
      try browser.click(entry)
      #expect(try browser.number("document.querySelectorAll('svg .off').length") > 0)
    }
  }
}
