import ArgumentParser
import Foundation

/// Options that take one value and are given twice: ArgumentParser keeps the last one, and which one
/// is meant nobody knows.
enum RepeatedOptions {
  /// What ArgumentParser tells of a command in its help as JSON.
  private struct Help: Decodable {
    var command: Command
  }

  private struct Command: Decodable {
    var commandName: String
    var subcommands: [Command]?
    var arguments: [Argument]?
  }

  private struct Argument: Decodable {
    struct Name: Decodable {
      var kind: String
      var name: String

      var text: String { (kind == "long" ? "--" : "-") + name }
    }

    var kind: String
    var isRepeating: Bool
    var names: [Name]?
  }

  /// - Parameter arguments: Without the name of the program.
  static func check(_ arguments: [String]) throws {
    let words = Array(arguments.prefix { $0 != "--" })
    // A look at the definitions takes its time: only where a word, or a letter and a word that
    // begins with it, may be one option.
    let given = words.filter { $0.hasPrefix("-") }.map(Self.name)
    let mayHaveShort = given.contains { short in
      !short.hasPrefix("--") && given.contains { $0.hasPrefix("-" + short) }
    }
    if Set(given).count == given.count && !mayHaveShort { return }
    let help = try JSONDecoder().decode(Help.self, from: Data(EvalCLI._dumpHelp().utf8))
    var command = help.command
    var rest = words[...]
    while let word = rest.first,
      let next = command.subcommands?.first(where: { $0.commandName == word })
    {
      command = next
      rest = rest.dropFirst()
    }
    var options: [String: Int] = [:]
    let arguments = command.arguments ?? []
    for (index, argument) in arguments.enumerated() where argument.kind == "option" {
      for name in argument.names ?? [] { options[name.text] = index }
    }
    var seen: Set<Int> = []
    while let word = rest.popFirst() {
      guard let index = options[name(word)] else { continue }
      // What follows is the option's value, whatever it looks like.
      if !word.contains("=") { rest = rest.dropFirst() }
      if arguments[index].isRepeating || seen.insert(index).inserted { continue }
      throw UsageError(
        "an option that takes one value is given twice", at: name(word), "Give it once.")
    }
  }

  /// `--name` of `--name=value`.
  private static func name(_ word: String) -> String {
    String(word.prefix { $0 != "=" })
  }
}
