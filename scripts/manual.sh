#!/usr/bin/env bash
# Writes the manual of a command, a page for each of its commands, into a folder:
#
#   scripts/manual.sh COMMAND FOLDER
#
# The pages are those of swift-argument-parser's plugin GenerateManual, by the tool behind it alone:
# `swift package generate-manual` first builds every target of the package anew, with flags of its own.
# The tool drops characters beyond ASCII, which are most of a formula here, and runs lines together:
# characters are spelled out while it works, and lists of the help remain lists.
set -euo pipefail

command=$1 folder=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ ! -d "$folder" ] || [ "$folder" -ot "$command" ] || [ "$folder" -ot "${BASH_SOURCE[0]}" ] || exit 0

tool=$root/.build/manual/debug/generate-manual
[ -x "$tool" ] || swift build --quiet --package-path "$root/.build/checkouts/swift-argument-parser" \
  --scratch-path "$root/.build/manual" --product generate-manual

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/spelled" <<END
#!/bin/sh
'$(realpath "$command")' "\$@" | perl -CS -pe 's/([^\\x00-\\x7f])/sprintf "QU%04XQ", ord \$1/ge'
END
chmod +x "$work/spelled"
mkdir "$work/pages"
"$tool" "$work/spelled" --multi-page --date "$(date -r "$command" +%F)" --output-directory "$work/pages" >/dev/null

# Indented lines are examples, to be left as they are; but below the head of the list of methods every line
# with a name and a colon begins an entry, and indented ones go on with it. Macros begin with a dot.
perl -CSD -i -pe '
  s/QU([0-9A-F]+)Q/chr hex $1/ge;
  my $example = !$entries && /^  /;
  my $change = "";
  if ($entries && /^(\.|$)/) { $change = ".El\n"; $entries = 0 }
  if ($example != ($inside // 0)) { $change .= $example ? ".Bd -literal -compact\n" : ".Ed\n"; $inside = $example }
  s/^$/.Pp/;
  if ($entries) { s/^ +// or s/^([^:]+): (.*)/.It Cm "$1"\n$2/ }
  elsif ($example) { s/-/\\-/g }
  if (/^Update methods /) { $_ .= ".Bl -tag -width 6n\n"; $entries = 1 }
  $_ = $change . $_;
' "$work"/pages/*.1
rm -rf "$folder"
mkdir -p "$folder"
mv "$work"/pages/*.1 "$folder"
