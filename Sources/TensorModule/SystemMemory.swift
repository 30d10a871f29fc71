#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The memory that the system and its limits leave to this process.
public enum SystemMemory {
  /// Bytes that the process may come to hold: of the machine, of the control groups that it is in
  /// (versions 1 and 2), and of its limits on address space and data (`ulimit -v`, `-d`).
  public static let available: Int = {
    let limits = [limit(RLIMIT_AS), limit(RLIMIT_DATA), groupLimit]
    return limits.compactMap { $0 }.reduce(machine, min)
  }()

  /// Of the machine.
  public static var machine: Int {
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    return (ByteCount(pages) * ByteCount(Int(getpagesize()))).value
  }

  /// What the limits on address space and data leave beyond what is mapped now; `nil` without limits.
  public static var addressSpaceLeft: Int? {
    guard let limit = [limit(RLIMIT_AS), limit(RLIMIT_DATA)].compactMap({ $0 }).min() else {
      return nil
    }
    return max(limit - mapped, 0)
  }

  /// Whether so much address space can be had at once: it is asked for and given back.
  public static func canMap(_ bytes: Int) -> Bool {
    if bytes <= 0 { return true }
    guard
      let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      address != MAP_FAILED
    else { return false }
    munmap(address, bytes)
    return true
  }

  /// Half, a fourth, ... of so much, the first that can be had.
  public static func mappable(below bytes: Int) -> Int {
    var size = bytes / 2
    while size > 0, !canMap(size) { size /= 2 }
    return size
  }

  #if os(Linux)
    private static func limit(_ resource: __rlimit_resource) -> Int? {
      limit(__rlimit_resource_t(resource.rawValue))
    }
  #endif

  private static func limit(_ resource: Int32) -> Int? {
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0, limit.rlim_cur < rlim_t(Int.max) else { return nil }
    return Int(limit.rlim_cur)
  }

  /// Address space of the process now.
  private static var mapped: Int {
    guard let pages = text("/proc/self/statm")?.split(separator: " ").first.flatMap({ Int($0) })
    else { return 0 }
    return (ByteCount(pages) * ByteCount(Int(getpagesize()))).value
  }

  // MARK: - Control groups

  /// The least limit of the groups that the process is in and of those above them.
  private static var groupLimit: Int? {
    guard let groups = text("/proc/self/cgroup") else { return nil }
    var limits: [Int] = []
    for line in groups.split(separator: "\n") {
      // 0::/path in version 2, n:memory:/path in version 1.
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      if parts[1].isEmpty {
        limits += limitsUpwards(root: "/sys/fs/cgroup", String(parts[2]), file: "memory.max")
      } else if parts[1].split(separator: ",").contains("memory") {
        limits += limitsUpwards(
          root: "/sys/fs/cgroup/memory", String(parts[2]), file: "memory.limit_in_bytes")
      }
    }
    return limits.min()
  }

  private static func limitsUpwards(root: String, _ path: String, file: String) -> [Int] {
    var limits: [Int] = []
    var names = path.split(separator: "/")
    while true {
      let folder = ([root] + names.map(String.init)).joined(separator: "/")
      // "max", or a number beyond all memory, where there is no limit.
      if let number = text(folder + "/" + file).flatMap({ Int($0.filter(\.isNumber)) }), number > 0
      {
        limits.append(number)
      }
      if names.isEmpty { return limits }
      names.removeLast()
    }
  }

  /// A short text that the system makes up.
  private static func text(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1 << 13)
    let count = read(descriptor, &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
