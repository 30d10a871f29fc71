extension KnownOptimizer {
  /// Every optimiser whose states are read. A new one is a file in `Optimizers` and a line here.
  static let all: [KnownOptimizer] = [
    .sgd, .adam, .transformersAdamW, .nadam, .radam, .adagrad, .rmsprop, .adafactor,
    .transformersAdafactor, .muon, .jordanMuon, .kozistrMuon, .lion, .soap, .authorsSOAP, .shampoo,
    .sophiaG, .sophiaH, .ademamix, .authorsAdEMAMix, .mars, .authorsMARS, .scheduleFree,
    .kozistrScheduleFree,
  ]
}
