import Foundation
import TestSupport

@testable import Figures

/// A folder for the time of a body.
func inFolder(_ body: (URL) throws -> Void) throws {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent(
    "drawing-" + UUID().uuidString)
  try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: url) }
  try body(url)
}

/// Of a draft that is there until they are made.
func results(of draft: ResultsDraft) throws -> Results {
  try withExtendedLifetime(draft) { try Results(folder: draft.path) }
}
