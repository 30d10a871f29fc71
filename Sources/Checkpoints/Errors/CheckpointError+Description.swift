import Foundation

/// What, where, how to fix: the problem on the first line, then `  at FILE, PLACE, tensor NAME, byte N`,
/// then advice where there is any. The word `error:` is left to whoever prints it.
extension CheckpointError: ExplainedError {
  public var message: ErrorMessage {
    let place = location.description
    return ErrorMessage(
      sentence, at: place.isEmpty ? nil : SettingText(place),
      [question, hint ?? advice].compactMap { $0 })
  }
}

extension CheckpointError: LocalizedError {
  public var errorDescription: String? { description }
}

extension CheckpointError.Location: CustomStringConvertible {
  public var description: String {
    [
      file.map { printable($0) }, place.map { printable($0, limit: 400) },
      tensor.map { "tensor " + printable($0, limit: 400) }, byte.map { "byte \($0)" },
    ].compactMap { $0 }.joined(separator: ", ")
  }
}

// MARK: - What

extension CheckpointError {
  private var sentence: SettingText {
    switch problem {
    case .fileMissing: "no such file"
    case .isDirectory: "this is a directory, expected a file"
    case .isNoDirectory: "this is a file, expected a directory"
    case .exists: "there is a file of this name already"
    case .isDevice: "this is a device, expected a file"
    case .isPipe: "this is a pipe, expected a file"
    case .cannotOpen(let code): "cannot open the file: \(systemMessage(code))"
    case .cannotRead(let code): "cannot read the file: \(systemMessage(code))"
    case .cannotWrite(let code): "cannot write the file: \(systemMessage(code))"
    case .linkedOutput: "this is the system's name for an open file, which cannot be replaced"
    case .changed(let change): "the file has changed while it was in use: \(sentence(change))"
    case .lost: "the file can no longer be read: it was cut short while in use, or its disk fails"
    case .otherFormat(let found, let expected): "this is \(found), expected \(expected)"
    case .truncated(let found, let needed):
      "the data end after \(count(found, "byte")), at least \(needed) are needed"
    case .headerTooLarge(let bytes, let limit):
      "the header claims \(bytes) bytes, at most \(limit) are accepted"
    case .invalidJSON(let document, let defect, let offset):
      "\(document) is not valid JSON: \(sentence(defect))"
        + (offset.map { " (at its byte \($0))" } ?? "")
    case .unknownDType(let name): "unknown dtype \(name)"
    case .impossibleShape(let shape): "shape \(shape) is negative or too large to address"
    case .reversedOffsets(let begin, let end):
      "the data offsets [\(begin), \(end)] are negative or reversed"
    case .outOfBounds(let end, let limit):
      "the data end at byte \(end) of a data section of \(count(limit, "byte"))"
    case .sizeMismatch(let found, let expected, let dtype, let shape):
      "\(count(found, "byte")) of data, but \(dtype.rawValue) of shape \(shape) takes \(expected)"
    case .overlap(let other): "the data overlap those of tensor \(other)"
    case .unclaimedBytes(let bytes):
      "\(count(bytes, "byte")) of the data section \(bytes == 1 ? "belongs" : "belong") to no tensor"
    case .invalidZip(let reason): "the zip archive is damaged: \(reason)"
    case .invalidNPYHeader(let reason): "bad .npy header: \(reason)"
    case .unsupportedCompression(let method): "unsupported zip compression method \(method)"
    case .encrypted: "the archive member is encrypted"
    case .implausibleSize(let declared, let stored):
      "\(stored) stored bytes claim to unpack to \(declared)"
    case .invalidPickle(let reason): "the pickle is not valid: \(reason)"
    case .forbiddenGlobal(let name):
      "\(printable(name, limit: 120)) is not allowed: nothing that a file contains is executed"
    case .forbiddenOpcode(let name):
      "the pickle instruction \(name) is not allowed: nothing that a file contains is executed"
    case .tooLargeToUnpack(let needed, let left):
      "its numbers take \(needed) bytes outside the file, and \(left) of the memory allowed are left"
    case .missingStorage(let member): "the archive has no member \(printable(member, limit: 120))"
    case .viewOutOfBounds(let offset, let shape, let strides, let elements):
      "shape \(shape) with strides \(strides) from offset \(offset) is not inside a storage of "
        + "\(count(elements, "element"))"
    case .invalidProgram(let reason): "the network is not valid: \(printable(reason, limit: 400))"
    case .unsupportedProgram(let reason):
      "the network is not supported: \(printable(reason, limit: 1 << 16))"
    case .duplicateTensor: "two tensors have this name"
    case .sameThing(let thing, let other): "this tensor and \(other) are both \(thing)"
    case .wrongDType(let found, let expected):
      "dtype is \(found.rawValue), expected \(list(expected.map(\.rawValue)))"
    case .shapeMismatch(let found, let expected): "shape is \(found), expected \(expected)"
    case .missingTensor(let name, _): "there is no tensor \(name)"
    case .otherStateDict(let missing, let unexpected, let misshapen):
      SettingText(Self.sentences(missing, unexpected, misshapen))
    case .missingFiles(let names, let what): "there is no \(what): no \(list(names))"
    case .unexpectedTensor: "this tensor has no meaning here"
    case .sampleCountMismatch(let found, let expected, let reference):
      "\(count(found, "sample")), but \(reference) has \(expected)"
    case .missingValue(let path, _): "\(path) is missing"
    case .unexpectedValue(let path, let found, let expected):
      "\(path) is \(found), expected \(expected)"
    case .unexpectedSetting(let setting, let found, let expected):
      "\(setting) is \(found), expected \(expected)"
    case .unknownKey(let path, _): "unknown key \(path)"
    case .unknownName(let what, let found, _): "unknown \(what) \(quoted(found))"
    case .unsupportedName(let what, let found, _): "\(what) \(quoted(found)) is not supported"
    }
  }

  /// As `load_state_dict` says it, a few of each.
  private static func sentences(
    _ missing: [String], _ unexpected: [String], _ misshapen: [Misshapen]
  ) -> String {
    func some(_ texts: [String]) -> String {
      texts.prefix(8).joined(separator: ", ")
        + (texts.count > 8 ? " and \(texts.count - 8) more" : "")
    }
    var parts: [String] = []
    if !missing.isEmpty { parts.append("missing keys: " + some(missing.map { quoted($0) })) }
    if !unexpected.isEmpty {
      parts.append("unexpected keys: " + some(unexpected.map { quoted($0) }))
    }
    if !misshapen.isEmpty {
      parts.append(
        "size mismatch: "
          + some(misshapen.map { "\(quoted($0.name)) \($0.found), the network has \($0.expected)" })
      )
    }
    return "the state_dict does not fit the network; " + parts.joined(separator: "; ")
  }

  private func sentence(_ change: Change) -> String {
    switch change {
    case .removed: "it is no longer there"
    case .replaced: "another file has taken its name"
    case .resized(let before, let now): "it had \(count(before, "byte")) and has \(now)"
    case .rewritten: "it was written to"
    }
  }

  private func sentence(_ defect: JSONDefect) -> String {
    switch defect {
    case .unexpected(let found, let expected): "found \(found), expected \(expected)"
    case .duplicateKey(let key): "the key \(quoted(key)) occurs twice in one object"
    case .invalidEscape: "invalid escape in a string"
    case .invalidUTF8: "a string is not valid UTF-8"
    case .controlCharacter: "a string contains a control character"
    case .numberOutOfRange(let digits): "the number \(digits) is out of range"
    case .nestedDeeper(let limit): "nested deeper than \(limit) levels"
    case .arrayLonger(let limit): "an array has more than \(limit) elements"
    case .combiningMarks: "a string has more than 30 combining marks in a row"
    }
  }
}

// MARK: - How to fix

extension CheckpointError {
  private var advice: SettingText? {
    switch problem {
    case .fileMissing: "Check the path; a relative one is taken from the current directory."
    case .isDirectory: "Name a file inside it."
    case .isNoDirectory: "Name the folder that holds it."
    case .cannotOpen(let code) where code == EACCES: "Ask for permission to read it."
    case .cannotWrite: "Check that the folder exists, may be written and has room."
    case .linkedOutput: "Name the file itself."
    case .changed: "Take a copy that nobody writes to, or wait until its writer has ended."
    case .lost:
      "What was finished before is kept. Take a copy that nobody writes to, and \(.resume) if its "
        + "content is as it was."
    case .truncated, .outOfBounds: "The file was probably cut short; copy or save it again."
    case .headerTooLarge, .invalidZip, .invalidJSON(_, _, nil):
      "The file is damaged or of another kind; save it again."
    case .unknownDType:
      "Known are \(list(DType.allCases.map(\.rawValue))); convert it and save again."
    case .overlap, .reversedOffsets, .sizeMismatch, .unclaimedBytes, .impossibleShape:
      "The file was not written correctly; save it again with a safetensors or numpy library."
    case .unsupportedCompression:
      "Stored and deflated members are read; save it with numpy.savez or savez_compressed."
    case .invalidPickle: "The file is damaged, or torch.save did not write it; save it again."
    case .invalidProgram:
      "The file is damaged, or torch.export.save did not write it; export it again."
    case .forbiddenGlobal, .forbiddenOpcode:
      "Save tensors and numbers alone: torch.save(model.state_dict(), path)."
    case .encrypted: "Save it without a password."
    case .tooLargeToUnpack:
      "Allow more with \(.memory), or save it as safetensors, which is read where it lies."
    case .implausibleSize: "Deflate cannot do that: the file is damaged or a zip bomb."
    case .sampleCountMismatch: "The first dimension counts samples and must agree."
    case .unknownName(_, let found, let known):
      SettingText(didYouMean(nearMisses(found, among: known)) ?? "Known are \(list(known)).")
    case .unsupportedName(_, _, let supported): "Supported are \(list(supported))."
    default: nil
    }
  }

  /// What may be meant, before any other advice.
  private var question: SettingText? {
    switch problem {
    case .missingTensor(_, let near), .unexpectedTensor(let near), .missingValue(_, let near),
      .unknownKey(_, let near):
      didYouMean(near).map { SettingText($0) }
    default: nil
    }
  }
}

// MARK: - Words

private func systemMessage(_ code: Int32) -> String { String(cString: strerror(code)) }

private func count(_ number: Int, _ noun: String) -> String {
  number == 1 ? "1 \(noun)" : "\(number) \(noun)s"
}

/// `a`, `a or b`, `a, b or c`; of more names than a line has room for, the first ones and how many
/// are left.
func list(_ names: [String]) -> String {
  var (room, shown) = (400, 0)
  for name in names {
    room -= name.count + 2
    if room < 0 && shown > 0 { break }
    shown += 1
  }
  if shown < names.count {
    return names[..<shown].joined(separator: ", ") + " or \(names.count - shown) others"
  }
  return names.count < 2
    ? names.joined() : names.dropLast().joined(separator: ", ") + " or " + names[names.count - 1]
}
