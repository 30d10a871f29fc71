/// What is wrong with a file, as facts. `CheckpointError+Description.swift` turns them into
/// sentences.
public struct CheckpointError: Error, Equatable, Sendable {
  /// What is wrong.
  public var problem: Problem
  /// Where.
  public var location: Location
  /// Advice for this very case, in place of the general advice for the problem. Names that are near stand in
  /// front of either.
  public var hint: SettingText?

  /// - Parameter hint: In place of the general advice.
  public init(_ problem: Problem, at location: Location, hint: SettingText? = nil) {
    self.problem = problem
    self.location = location
    self.hint = hint
  }

  /// The same with a text that speaks of no setting.
  public init(_ problem: Problem, at location: Location, hint: String?) {
    self.init(problem, at: location, hint: hint.map { SettingText($0) })
  }

  /// Where it is; every part that is known.
  public struct Location: Equatable, Sendable {
    /// The path.
    public var file: String?
    /// In a JSON document of the file, as `model.layers[3].type`.
    public var place: String?
    /// The name of the tensor.
    public var tensor: String?
    /// Offset from the beginning of the file; for a member of a zip archive, from the
    /// beginning of the member.
    public var byte: Int?

    /// With the parts that are known.
    public init(
      file: String? = nil, place: String? = nil, tensor: String? = nil, byte: Int? = nil
    ) {
      self.file = file
      self.place = place
      self.tensor = tensor
      self.byte = byte
    }
  }

  /// What may be wrong with a file.
  public enum Problem: Equatable, Sendable {
    // Files
    /// There is nothing at the path.
    case fileMissing
    /// A folder where a file was expected.
    case isDirectory
    /// Something is there, but no folder.
    case isNoDirectory
    /// A device where a file was expected.
    case isDevice
    /// Where nobody has named one, so that no writer is to be waited for.
    case isPipe
    /// The system refused to open the file; `code` is its errno.
    case cannotOpen(code: Int32)
    /// The system stopped reading; `code` is its errno.
    case cannotRead(code: Int32)
    /// The system refused an output; `code` is its errno.
    case cannotWrite(code: Int32)
    /// The output is a name of the system for an open file.
    case linkedOutput
    /// An output that would replace a file.
    case exists
    /// An input is no longer what it was when it was opened.
    case changed(Change)
    /// A mapped file can no longer be read.
    case lost
    /// The content is recognisably something else, e.g. "a PyTorch file".
    case otherFormat(found: String, expected: String)

    // Bytes
    /// The file ends too early; both in bytes.
    case truncated(found: Int, needed: Int)
    /// The header is larger than any reader has to accept.
    case headerTooLarge(bytes: UInt64, limit: Int)
    /// `offset` is given where the document is not the file itself.
    case invalidJSON(document: String, defect: JSONDefect, offset: Int?)
    /// No element type of this name is known.
    case unknownDType(String)
    /// A negative size, or more elements than can be counted.
    case impossibleShape([Int])
    /// A tensor that ends before it begins.
    case reversedOffsets(begin: Int, end: Int)
    /// A tensor that reaches beyond the file.
    case outOfBounds(end: Int, limit: Int)
    /// A tensor that has not the bytes of its type and shape.
    case sizeMismatch(found: Int, expected: Int, dtype: DType, shape: [Int])
    /// Two tensors that share bytes; `with` is the other one's name.
    case overlap(with: String)
    /// Bytes from the location's offset on that belong to no tensor.
    case unclaimedBytes(Int)
    /// libzip's own words.
    case invalidZip(String)
    /// What is wrong with the header of a member of an npz archive.
    case invalidNPYHeader(String)
    /// A zip method other than stored and deflated.
    case unsupportedCompression(method: Int)
    /// A zip member under a password.
    case encrypted
    /// More bytes declared than deflate can produce from those stored.
    case implausibleSize(declared: UInt64, stored: UInt64)
    /// Numbers that cannot be read where they lie take more memory than is left.
    case tooLargeToUnpack(needed: Int, left: Int)

    /// What Python's pickle machine would stumble over.
    case invalidPickle(String)
    /// A function or class that a pickle names, e.g. "os.system".
    case forbiddenGlobal(String)
    /// An instruction of a pickle that is not carried out, by its name.
    case forbiddenOpcode(String)
    /// The member of the archive that should hold a tensor's numbers.
    case missingStorage(String)
    /// A strided view, in elements, that leaves its storage of `count`.
    case viewOutOfBounds(offset: Int, shape: [Int], strides: [Int], count: Int)
    /// What is wrong with a network by torch.export.
    case invalidProgram(String)
    /// What of a valid network cannot be computed sample by sample, with its place.
    case unsupportedProgram(String)
    /// Two tensors of the same name.
    case duplicateTensor
    /// Two tensors that mean one thing, e.g. "the parameter fc.weight"; `other` is the one that is
    /// not in the location.
    case sameThing(String, other: String)

    // Meaning
    /// A tensor of another element type than its place takes.
    case wrongDType(found: DType, expected: [DType])
    /// A tensor of another shape than its place takes.
    case shapeMismatch(found: [Int], expected: [Int])
    /// A tensor that the model needs; `near` are names like it.
    case missingTensor(String, near: [String])
    /// Names and shapes in which a state_dict is not that of a network.
    case otherStateDict(missing: [String], unexpected: [String], misshapen: [Misshapen])
    /// A folder without the weights or settings that were looked for under these names.
    case missingFiles([String], what: String)
    /// A tensor whose name says nothing to the reader.
    case unexpectedTensor(near: [String])
    /// As many samples as `reference` has were expected.
    case sampleCountMismatch(found: Int, expected: Int, reference: String)
    /// A value of metadata or JSON that is needed; `near` are keys like it.
    case missingValue(String, near: [String])
    /// A value that may not be what it is.
    case unexpectedValue(String, found: String, expected: String)
    /// A setting that does not go with the file.
    case unexpectedSetting(Setting, found: String, expected: String)
    /// A key that says nothing to the reader; `near` are keys like it.
    case unknownKey(String, near: [String])
    /// A name outside a known list: `what` says of what, e.g. "loss".
    case unknownName(what: String, found: String, known: [String])
    /// A name that a program has written and that other programs know: no name near it is meant.
    case unsupportedName(what: String, found: String, supported: [String])
  }

  /// A tensor of another shape than its network has.
  public struct Misshapen: Equatable, Sendable {
    /// Of the tensor.
    public var name: String
    /// Its shape in the file.
    public var found: [Int]
    /// Its shape in the network.
    public var expected: [Int]

    /// With all of its parts.
    public init(name: String, found: [Int], expected: [Int]) {
      self.name = name
      self.found = found
      self.expected = expected
    }
  }

  /// What has become of a file since it was opened.
  public enum Change: Equatable, Sendable {
    /// There is nothing at the path any more.
    case removed
    /// The path leads to another file.
    case replaced
    /// Sizes in bytes.
    case resized(from: Int, to: Int)
    /// Of the same size.
    case rewritten
  }

  /// What makes a text no valid JSON, or more than the reader accepts.
  public enum JSONDefect: Equatable, Sendable {
    /// Another character than the grammar has here.
    case unexpected(found: String, expected: String)
    /// An object with two members of one name.
    case duplicateKey(String)
    /// A backslash before something else than an escape.
    case invalidEscape
    /// Bytes that are no UTF-8.
    case invalidUTF8
    /// A control character inside a string.
    case controlCharacter
    /// Beyond the range of double, or of a whole number.
    case numberOutOfRange(String)
    /// Deeper than the reader follows.
    case nestedDeeper(than: Int)
    /// Longer than the reader accepts.
    case arrayLonger(than: Int)
    /// See `String.isStreamSafe`.
    case combiningMarks
  }

  /// The kinds of trouble that a caller may want to tell apart, e.g. by exit code.
  public enum Category: Sendable {
    /// An input is not there or may not be opened (sysexits 66).
    case missingInput
    /// An input is there and wrong (65).
    case badData
    /// Reading failed midway (74).
    case inputOutput
    /// An output cannot be written (73).
    case cannotWrite
  }

  /// What a caller may tell it apart by.
  public var category: Category {
    switch problem {
    case .fileMissing, .isDirectory, .isNoDirectory, .isDevice, .isPipe, .cannotOpen,
      .missingFiles:
      .missingInput
    case .cannotRead, .lost: .inputOutput
    case .cannotWrite, .linkedOutput, .exists: .cannotWrite
    default: .badData
    }
  }
}
