// swift-tools-version: 6.1
import PackageDescription

/// A package of its own, so that users of the library never see what only measuring needs.
let package = Package(
  name: "approx-eval-benchmarks",
  dependencies: [
    .package(name: "approx-eval", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    // Without its default traits: they interpose malloc, and the counts read 0 on Linux here.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    // The models that are measured, written as checkpoints.
    .target(
      name: "Workloads",
      dependencies: [
        .product(name: "ApproxEval", package: "approx-eval"),
        .product(name: "Checkpoints", package: "approx-eval"),
      ]),
    // A markdown table of times and of their ratios to the machine's matrix products.
    .executableTarget(name: "report", dependencies: ["Workloads"]),
    // The whole evaluation beside its peers.
    .executableTarget(
      name: "compare",
      dependencies: [
        "Workloads", .product(name: "ApproxEval", package: "approx-eval"),
        .product(name: "Checkpoints", package: "approx-eval"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Time and memory against the sizes of a problem.
    .executableTarget(
      name: "scaling",
      dependencies: [
        "Workloads", .product(name: "ApproxEval", package: "approx-eval"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // The same steps for `swift package benchmark`, with its baselines and comparisons.
    .executableTarget(
      name: "EngineBenchmarks",
      dependencies: ["Workloads", .product(name: "Benchmark", package: "benchmark")],
      path: "Benchmarks/EngineBenchmarks",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
