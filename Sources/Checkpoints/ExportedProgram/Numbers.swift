// Numbers that stand for words in the schema (`torch/_export/serde/schema.py`).

extension ExportedProgram {
  /// Element types.
  package enum ScalarType: Int, Sendable {
    case uint8 = 1
    case int8 = 2
    case int16 = 3
    case int32 = 4
    case int64 = 5
    case float16 = 6
    case float32 = 7
    case float64 = 8
    case complex32 = 9
    case complex64 = 10
    case complex128 = 11
    case bool = 12
    case bfloat16 = 13
    case uint16 = 28
    case float8e4m3fn = 29
    case float8e5m2 = 30
    case float8e4m3fnuz = 31
    case float8e5m2fnuz = 32
    case float8e8m0fnu = 33
    case uint32 = 34
    case uint64 = 35

    /// The type of tensors that are read, nil for the others.
    package var stored: DType? {
      switch self {
      case .uint8: .u8
      case .int8: .i8
      case .int16: .i16
      case .int32: .i32
      case .int64: .i64
      case .float16: .f16
      case .float32: .f32
      case .float64: .f64
      case .bool: .bool
      case .bfloat16: .bf16
      case .complex32, .complex64, .complex128, .uint16, .uint32, .uint64, .float8e4m3fn,
        .float8e5m2, .float8e4m3fnuz, .float8e5m2fnuz, .float8e8m0fnu:
        nil
      }
    }
  }

  package enum Layout: Int, Sendable {
    case sparseCOO = 1
    case sparseCSR = 2
    case sparseCSC = 3
    case sparseBSR = 4
    case sparseBSC = 5
    case mkldnn = 6
    case strided = 7
  }

  package enum MemoryFormat: Int, Sendable {
    case contiguous = 1
    case channelsLast = 2
    case channelsLast3d = 3
    case preserve = 4
  }
}

extension JSONValue {
  /// One of the cases by its number.
  ///
  /// - Parameter what: For messages, e.g. "the number of a dtype".
  func number<Case: RawRepresentable<Int>>(
    of: Case.Type, _ what: String
  ) throws(CheckpointError) -> Case {
    guard let value = Case(rawValue: try integer()) else { throw wrong(what) }
    return value
  }
}
