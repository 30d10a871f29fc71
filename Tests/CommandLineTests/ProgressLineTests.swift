import Testing

@testable import ApproxEval
@testable import eval_cli

@Suite struct ProgressLineTests {
  private static func line(
    checkpoints: Int = 2, resumed: Int = 0, finished: Int, seconds: Double
  ) -> ProgressLine {
    let plan = RunPlan(
      (0..<checkpoints).map { index in
        RunPlan.Checkpoint(
          description: CheckpointDescription(
            path: "run/epoch-0\(index).bin", model: "sequential", loss: "mse",
            trainableParameters: 1, allParameters: 1, positions: 1, classes: 1),
          batches: 5..<25)
      })
    return ProgressLine(
      plan: plan, resumed: resumed, finished: finished, seconds: seconds, next: finished)
  }

  @Test func textSaysWhereTheRunIsAndHowLongItTakes() {
    #expect(
      Self.line(finished: 23, seconds: 10).text
        == "run/epoch-01.bin, batch 8; 23 of 40 batches, 2.3 batches/s, 0:08 left")
    #expect(
      Self.line(finished: 1, seconds: 100).text
        == "run/epoch-00.bin, batch 6; 1 of 40 batches, 100.0 s per batch, 1:05:00 left")
    #expect(Self.line(finished: 0, seconds: 0).text == "run/epoch-00.bin, batch 5; 0 of 40 batches")
  }

  /// By the number of what is done: where a checkpoint fails, numbers are left out.
  @Test func theNextBatchFollowsTheOneThatIsDone() {
    let plan = Self.line(finished: 0, seconds: 0).plan
    let progress = Progress(plan, finished: [0, 23], isShown: false)
    #expect(progress.line.next == 1)
    progress.advance(past: 1) { _ in nil }
    #expect(progress.line.next == 2 && progress.line.finished == 3)
    progress.leave(checkpoint: 0)
    #expect(progress.line.next == 20 && progress.line.finished == 3)
    progress.advance(past: 22) { _ in nil }
    #expect(progress.line.next == 24)
    progress.advance(past: 39) { _ in nil }
    #expect(progress.line.next == nil)
  }

  /// What an earlier run has done says nothing about the speed of this one.
  @Test func rateIsThatOfThisRun() {
    #expect(
      Self.line(resumed: 20, finished: 30, seconds: 5).text
        == "run/epoch-01.bin, batch 15; 30 of 40 batches, 2.0 batches/s, 0:05 left")
  }

  @Test func barFillsTheTerminal() {
    let line = Self.line(finished: 10, seconds: 10)
    #expect(
      line.text(width: 100)
        == "epoch-00.bin (1/2) batch 15  [======                   ] 10 of 40 batches, "
        + "1.0 batches/s, 0:30 left")
    #expect(
      line.text(width: 80)
        == "epoch-00.bin  [=====               ] 10 of 40 batches, 1.0 batches/s, 0:30 left")
    #expect(
      line.text(width: 60) == "[===           ] 10 of 40 batches, 1.0 batches/s, 0:30 left")
    #expect(line.text(width: 20) == "10 of 40 batches, 1")
    for width in 0..<200 { #expect(line.text(width: width).count <= max(width - 1, 0)) }
    #expect(
      Self.line(checkpoints: 1, finished: 10, seconds: 10).text(width: 90)
        .hasPrefix("epoch-00.bin batch 15  [====="))
  }
}

@Suite struct ConsoleTests {
  @Test func marksAreColoursOfTheWholeCell() {
    #expect(Console.colored(" [0.25]", .best) == "\u{1B}[32m [0.25]\u{1B}[0m")
    #expect(Console.colored("71.7!", .worse) == "\u{1B}[31m71.7!\u{1B}[0m")
    #expect(Console.colored("0.5", .none) == "0.5")
  }
}
