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
    .ekfac,
    .iekfac,
    .blockEF,
    .blockIEF,
    .blockSF,
    .diagonalEF,
    .diagonalIEF,
    .adam,
    .sign,
  ]

  /// The one that all others are relative to.
  public static let baseline = sgd

  /// All the others.
  public static let families: [MethodFamily] = [
    .truncated,
    .update,
  ]
}
