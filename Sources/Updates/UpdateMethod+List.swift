extension UpdateMethod {
  /// All that have a name of their own, in the order of help texts and documentation.
  public static let named: [UpdateMethod] = [
    .sgd,
    .ef,
    .ief,
    .sf,
    .ng,
    .gn,
    .kfac,
    .kfacExact,
    .kfacReduce,
    .kfacExactReduce,
    .ekfac,
    .ekfacReduce,
    .iekfac,
    .iekfacReduce,
    .eigenvalueKFAC,
    .foof,
    .blockEF,
    .blockIEF,
    .blockSF,
    .blockNG,
    .layerEF,
    .layerIEF,
    .layerSF,
    .layerNG,
    .diagonalEF,
    .diagonalIEF,
    .diagonalNG,
    .adam,
    .shampoo,
    .shampooSquared,
    .soap,
    .klShampoo,
    .muon,
    .muonPolar,
    .sign,
    .sophia,
  ]

  /// The one that all others are relative to.
  public static let baseline = sgd

  /// All the others.
  public static let families: [MethodFamily] = [
    .truncated,
    .update,
  ]

  /// Lists that have a name, in place of their methods' names.
  public static let sets: [MethodSet] = [
    MethodSet(
      name: "paper", summary: "what the paper compares",
      methods: [.sgd, .ef, .ief, .sf, .kfac, .ekfac, .iekfac]),
    MethodSet(
      name: "matrix",
      summary: "optimisers that look at weights as matrices, with K-FAC and the layerwise oracle",
      methods: [
        .muon, .soap, .shampoo, .klShampoo, .kfac, .foof, .layerNG,
      ]),
    MethodSet(name: "all", summary: "every method that has a name of its own", methods: named),
  ]
}

/// Methods under one name.
public struct MethodSet: Sendable {
  /// As options name it.
  public let name: String
  /// In a line, for help texts.
  public let summary: String
  /// In the order in which they are scored.
  public let methods: [UpdateMethod]
}
