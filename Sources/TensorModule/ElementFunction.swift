import CKernels

/// A function that is applied element by element: a row of the table, with its numbers.
public struct ElementFunction: Sendable, Equatable {
  enum Kernel: Sendable, Equatable {
    /// Vectors at a time.
    case vector(ck_activation)
    /// One element at a time.
    case scalar(ck_function)
  }
  /// By PyTorch's name.
  public let name: String
  let kernel: Kernel
  /// By PyTorch's names.
  public let options: [String]
  /// Of its options, in their order.
  public private(set) var values: [Double]

  private init(_ name: String, _ kernel: Kernel, _ options: [(String, Double)] = []) {
    self.name = name
    self.kernel = kernel
    self.options = options.map(\.0)
    values = options.map(\.1)
  }

  /// The function of that name with the numbers that PyTorch gives it; `nil` if there is none.
  public init?(_ name: String) {
    guard let row = Self.all.first(where: { $0.name == name }) else { return nil }
    self = row
  }

  /// The same function with another number for one of its options.
  public func with(_ option: Int, _ value: Double) -> ElementFunction {
    precondition(values.indices.contains(option), "\(name): option \(option) of \(options)")
    var function = self
    function.values[option] = value
    return function
  }

  /// The same function with other numbers, as many as it has options.
  public func with(_ values: Double...) -> ElementFunction {
    precondition(values.count == options.count, "\(name): \(values) for \(options)")
    var function = self
    function.values = values
    return function
  }

  /// `max(x, 0)`
  public static let relu = ElementFunction("relu", .vector(CK_RELU))
  /// `x` above zero, a share of it below.
  public static let leakyReLU = ElementFunction(
    "leaky_relu", .vector(CK_LEAKY_RELU), [("negative_slope", 0.01)])
  /// `x Phi(x)`, Phi the normal distribution function.
  public static let gelu = ElementFunction("gelu", .vector(CK_GELU_ERF))
  /// GELU by the approximation with tanh.
  public static let geluTanh = ElementFunction("gelu_tanh", .vector(CK_GELU_TANH))
  /// `x sigmoid(x)`
  public static let silu = ElementFunction("silu", .vector(CK_SILU))
  /// `tanh x`
  public static let tanh = ElementFunction("tanh", .vector(CK_TANH))
  /// `1 / (1 + e^-x)`
  public static let sigmoid = ElementFunction("sigmoid", .vector(CK_SIGMOID))
  /// `log(1 + e^(beta x)) / beta`, x itself where `beta x` is above the threshold.
  public static let softplus = ElementFunction(
    "softplus", .vector(CK_SOFTPLUS), [("beta", 1), ("threshold", 20)])

  /// Name, kernel of value and derivative, options with their defaults.
  public static let all: [ElementFunction] = [
    relu, leakyReLU, gelu, geluTanh, silu, tanh, sigmoid, softplus,
    .init("exp", .scalar(CK_EXP)),
    .init("expm1", .scalar(CK_EXPM1)),
    .init("log", .scalar(CK_LOG)),
    .init("log1p", .scalar(CK_LOG1P)),
    .init("sqrt", .scalar(CK_SQRT)),
    .init("rsqrt", .scalar(CK_RSQRT)),
    .init("reciprocal", .scalar(CK_RECIPROCAL)),
    .init("abs", .scalar(CK_ABS)),
    .init("sin", .scalar(CK_SIN)),
    .init("cos", .scalar(CK_COS)),
    .init("erf", .scalar(CK_ERF)),
    .init("pow", .scalar(CK_POW), [("exponent", 2)]),
    .init("clamp", .scalar(CK_CLAMP), [("min", -.infinity), ("max", .infinity)]),
    .init("hardtanh", .scalar(CK_HARDTANH), [("min_val", -1), ("max_val", 1)]),
    .init("elu", .scalar(CK_ELU), [("alpha", 1)]),
    .init("celu", .scalar(CK_CELU), [("alpha", 1)]),
    .init("selu", .scalar(CK_SELU)),
    .init("hardsigmoid", .scalar(CK_HARDSIGMOID)),
    .init("hardswish", .scalar(CK_HARDSWISH)),
    .init("log_sigmoid", .scalar(CK_LOG_SIGMOID)),
    .init("softsign", .scalar(CK_SOFTSIGN)),
    .init("mish", .scalar(CK_MISH)),
  ]
}
