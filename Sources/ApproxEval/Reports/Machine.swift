import Foundation
import TensorModule

/// What a run ran on.
public struct Machine: Sendable, Equatable {
  /// Cores that the process may use.
  public var cores: Int
  public var processor: String
  public var memory: Int
  public var operatingSystem: String
  public var blas: String

  public static var current: Machine {
    let process = ProcessInfo.processInfo
    return Machine(
      cores: process.activeProcessorCount, processor: processorName,
      memory: Int(process.physicalMemory), operatingSystem: process.operatingSystemVersionString,
      blas: BLAS.buildDescription)
  }

  private static var processorName: String {
    #if canImport(Darwin)
      var length = 0
      sysctlbyname("machdep.cpu.brand_string", nil, &length, nil, 0)
      var name = [UInt8](repeating: 0, count: length)
      guard length > 1, sysctlbyname("machdep.cpu.brand_string", &name, &length, nil, 0) == 0
      else { return "unknown" }
      return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    #else
      let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?
        .split(separator: "\n")
      let name = lines?.first { $0.hasPrefix("model name") }?.split(separator: ":").last
      return name.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    #endif
  }
}
