import Checkpoints
import Foundation
import TensorModule

/// What a run ran on.
public struct Machine: Sendable, Equatable {
  /// Cores that the process may use.
  public var cores: Int
  /// As the system names it, `unknown` where it does not.
  public var processor: String
  /// Bytes of physical memory.
  public var memory: Int
  /// With its version.
  public var operatingSystem: String
  /// The build of BLAS, with its kernels.
  public var blas: String
  /// Which of the engine's own kernels the processor runs.
  public var kernels: String

  /// The one that this process runs on.
  public static var current: Machine {
    let process = ProcessInfo.processInfo
    return Machine(
      cores: process.activeProcessorCount, processor: processorName,
      memory: Int(process.physicalMemory), operatingSystem: process.operatingSystemVersionString,
      blas: BLAS.buildDescription, kernels: Kernels.processorLevel)
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
      let name = processors.split(separator: "\n").first { $0.hasPrefix("model name") }?
        .split(separator: ":").last
      return name.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    #endif
  }
  /// What the system tells of its processors, on Linux.
  private static var processors: String {
    let system = POSIXFileSystem()
    guard let file = try? system.open("/proc/cpuinfo", for: .reading(waiting: false)) else {
      return ""
    }
    defer { try? system.close(file) }
    return String(decoding: (try? system.readAll(file)) ?? Data(), as: UTF8.self)
  }
}
