/// What is wrong with a file, as facts. `CheckpointError+Description.swift` turns them into
/// sentences.
public struct CheckpointError: Error, Equatable, Sendable {
  public var problem: Problem
  public var location: Location
  /// Advice for this very case, in place of the general advice for the problem.
  public var hint: SettingText?

  public init(_ problem: Problem, at location: Location, hint: SettingText? = nil) {
    self.problem = problem
    self.location = location
    self.hint = hint
  }

  public init(_ problem: Problem, at location: Location, hint: String?) {
    self.init(problem, at: location, hint: hint.map { SettingText($0) })
  }

  /// Where it is; every part that is known.
  public struct Location: Equatable, Sendable {
    public var file: String?
    /// In a JSON document of the file, as `model.layers[3].type`.
    public var place: String?
    public var tensor: String?
    /// Offset from the beginning of the file; for a member of a zip archive, from the
    /// beginning of the member.
    public var byte: Int?

    public init(
      file: String? = nil, place: String? = nil, tensor: String? = nil, byte: Int? = nil
    ) {
      self.file = file
      self.place = place
      self.tensor = tensor
      self.byte = byte
    }
  }

  public enum Problem: Equatable, Sendable {
    // Files
    case fileMissing
    case isDirectory
    /// Something is there, but no folder.
    case isNoDirectory
    case isDevice
    /// Where nobody has named one, so that no writer is to be waited for.
    case isPipe
    /// The system refused to open the file; `code` is its errno.
    case cannotOpen(code: Int32)
    case cannotRead(code: Int32)
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
    case truncated(found: Int, needed: Int)
    case headerTooLarge(bytes: UInt64, limit: Int)
    /// `offset` is given where the document is not the file itself.
    case invalidJSON(document: String, defect: JSONDefect, offset: Int?)
    case unknownDType(String)
    case impossibleShape([Int])
    case reversedOffsets(begin: Int, end: Int)
    case outOfBounds(end: Int, limit: Int)
    case sizeMismatch(found: Int, expected: Int, dtype: DType, shape: [Int])
    case overlap(with: String)
    /// Bytes from the location's offset on that belong to no tensor.
    case unclaimedBytes(Int)
    /// libzip's own words.
    case invalidZip(String)
    case invalidNPYHeader(String)
    case unsupportedCompression(method: Int)
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
    case wrongDType(found: DType, expected: [DType])
    case shapeMismatch(found: [Int], expected: [Int])
    case missingTensor(String, near: [String])
    /// Names and shapes in which a state_dict is not that of a network.
    case otherStateDict(missing: [String], unexpected: [String], misshapen: [Misshapen])
    /// A folder without the weights or settings that were looked for under these names.
    case missingFiles([String], what: String)
    /// A tensor whose name says nothing to the reader.
    case unexpectedTensor(near: [String])
    case sampleCountMismatch(found: Int, expected: Int, reference: String)
    case missingValue(String, near: [String])
    case unexpectedValue(String, found: String, expected: String)
    /// A setting that does not go with the file.
    case unexpectedSetting(Setting, found: String, expected: String)
    case unknownKey(String, near: [String])
    /// A name outside a known list: `what` says of what, e.g. "loss".
    case unknownName(what: String, found: String, known: [String])
  }

  /// A tensor of another shape than its network has.
  public struct Misshapen: Equatable, Sendable {
    public var name: String
    public var found: [Int]
    public var expected: [Int]

    public init(name: String, found: [Int], expected: [Int]) {
      self.name = name
      self.found = found
      self.expected = expected
    }
  }

  /// What has become of a file since it was opened.
  public enum Change: Equatable, Sendable {
    case removed
    /// The path leads to another file.
    case replaced
    case resized(from: Int, to: Int)
    /// Of the same size.
    case rewritten
  }

  /// What makes a text no valid JSON, or more than the reader accepts.
  public enum JSONDefect: Equatable, Sendable {
    case unexpected(found: String, expected: String)
    case duplicateKey(String)
    case invalidEscape
    case invalidUTF8
    case controlCharacter
    case numberOutOfRange(String)
    case nestedDeeper(than: Int)
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
