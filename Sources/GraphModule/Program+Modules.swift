extension ParameterSpec {
  /// The module that it belongs to by its name: all of it up to the last dot.
  package var module: String {
    guard let dot = name.lastIndex(of: ".") else { return name }
    return String(name[..<dot])
  }
}

extension Program {
  /// Trainable parameters that stand together, as the weight and the bias of a layer do: those whose
  /// names differ in what follows the last dot alone. In the order of their first ones.
  package var modules: [(name: String, parameters: [ParameterID])] {
    var modules: [(name: String, parameters: [ParameterID])] = []
    var places: [String: Int] = [:]
    for parameter in trainable {
      let name = graph.parameters[parameter.index].module
      if let place = places[name] {
        modules[place].parameters.append(parameter)
      } else {
        places[name] = modules.count
        modules.append((name, [parameter]))
      }
    }
    return modules
  }
}
