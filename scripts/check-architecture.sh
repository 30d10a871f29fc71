#!/usr/bin/env bash
# What keeps the targets apart, where the compiler does not. See CONTRIBUTING.md, Architecture.
set -euo pipefail

status=0
complain() { printf 'architecture: %s\n' "$@" >&2; status=1; }

# MARK: Imports

# Every `import` of a target names what Package.swift declares for that target, or what comes with
# Swift and the system; and everything declared is imported. SwiftPM itself lets a target import
# whatever another one has brought along.

# Per target: its name, its folder, its dependencies.
targets() {
  awk '
    /^ *\/\// { next }
    { text = text " " $0 }
    END {
      parts = split(text, target, /\.(executableTarget|testTarget|target)\(/)
      for (i = 2; i <= parts; i++) {
        match(target[i], /name: "[^"]+"/)
        name = substr(target[i], RSTART + 7, RLENGTH - 8)
        path = match(target[i], /path: "[^"]+"/) ? substr(target[i], RSTART + 7, RLENGTH - 8) : "-"
        list = match(target[i], /dependencies: \[[^]]*\]/) ? substr(target[i], RSTART, RLENGTH) : ""
        gsub(/package: "[^"]*"/, "", list)
        gsub(/dependencies:|\.product|name:|[^A-Za-z0-9_ -]/, " ", list)
        print name, path, list
      }
    }' Package.swift
}

while read -r name path declared; do
  [ "$path" != - ] || { path=Sources/$name; [ -d "$path" ] || path=Tests/$name; }
  imported=$(grep -rhoE --include='*.swift' \
    '^ *(@[a-z]+ )?((public|package|internal|private) )?import (struct |class |func |enum )?[A-Za-z_]+' \
    "$path" | sed -E 's/.* //; s/^eval_cli$/eval-cli/' | sort -u) || true
  for module in $imported; do
    case " $declared Swift Foundation FoundationXML Glibc Darwin Dispatch Synchronization Testing " in
    *" $module "*) ;;
    *) complain "$path imports $module, which Package.swift does not declare for it" ;;
    esac
  done
  for module in $declared; do
    grep -qxF -- "$module" <<<"$imported" || complain "$name declares $module and does not import it"
  done
done < <(targets)

# MARK: Words

# Lines of Swift under Sources that match, but for those of a folder or a pattern.
found() { # PATTERN [GREP-OPTIONS]
  grep -rnE --include='*.swift' "${@:2}" -e "$1" Sources
}

# A library speaks of settings (Setting); only the command knows how its options are spelled.
if lines=$(found '--[a-z]' --exclude-dir=eval-cli --exclude=Stylesheet.swift --exclude=FigureStyles.swift | grep -v apt-get); then
  complain "a library names an option of the command:" "$lines"
fi

# What a terminal obeys, and what only a batch system has, is the command's as well.
if lines=$(found '\\u\{1B\}|\barray=|SLURM|sbatch' --exclude-dir=eval-cli); then
  complain "a library speaks to a terminal or a batch system:" "$lines"
fi

# What depends on which method or model it is, is part of its value.
if lines=$(found 'case \.(sgd|ef|ief)\b|== "(vit|bert|t5|gpt2|llama)"|is HeadLinear|switch (method|family) '); then
  complain "a method, family or layer is asked for outside its registry:" "$lines"
fi

# MARK: Sizes

while read -r count file; do
  [ "$file" = total ] || [ "$count" -le 350 ] || complain "$file has $count lines, at most 350"
done < <(find Sources -name '*.swift' -print0 | xargs -0 wc -l)

exit $status
