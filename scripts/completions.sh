#!/usr/bin/env bash
# Installs the completions of a command for bash, zsh and fish where these look for them.
#
#   scripts/completions.sh COMMAND SHARE
set -euo pipefail

command=$1 share=$2
name=$(basename "$command")
install -d "$share/bash-completion/completions" "$share/zsh/site-functions" \
  "$share/fish/vendor_completions.d"
"$command" --generate-completion-script bash >"$share/bash-completion/completions/$name"
"$command" --generate-completion-script zsh >"$share/zsh/site-functions/_$name"
"$command" --generate-completion-script fish >"$share/fish/vendor_completions.d/$name.fish"
