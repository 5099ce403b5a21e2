# Completion of handoff(1) for bash. Commands and options are what the program's own help names, services those
# that have a supervisor or a configuration.

# As handoff finds them: a service of another user has its socket in a directory of its own.
_handoff_services() {
  local directories=("${XDG_RUNTIME_DIR:-/run/user/$EUID}/handoff" /run/handoff) directory file name
  [[ $EUID -ne 0 ]] || directories=(/run/handoff)
  [[ -z ${HANDOFF_RUNTIME_DIR:-} ]] || directories=("$HANDOFF_RUNTIME_DIR")
  {
    for directory in "${directories[@]}"; do
      for file in "$directory"/*.sock "$directory"/*/*.sock; do
        name=$(basename "$file" .sock)
        [[ -e $file && ${file%/*} =~ ^"$directory"(/"$name")?$ ]] && echo "$name"
      done
    done
    for file in /etc/handoff/*.toml "${XDG_CONFIG_HOME:-$HOME/.config}"/handoff/*.toml; do
      [[ -e $file ]] && basename "$file" .toml
    done
  } | sort -u
}

# The names that a section of a help text lists first in each line.
_handoff_listed() { # SECTION
  sed -n "/^$1:/,/^\$/s/^  \(-h,\)\{0,1\}\(-\{0,2\}[a-z][-a-z]*\).*/\2/p"
}

# The values in braces behind an option.
_handoff_values() { # OPTION
  sed -n "s/^  $1 [A-Z]*:{\([^}]*\)}.*/\1/p" | tr , ' '
}

_handoff_units() {
  systemctl list-unit-files --type=service --no-legend --no-pager 2>/dev/null | sed 's/\.service .*//'
}

_handoff() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} help word
  local program=${COMP_WORDS[0]} command=()
  help=$("$program" --help 2>/dev/null) || return
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    _handoff_listed Subcommands <<<"$help" | grep -qxe "$word" || continue
    command+=("$word")
    help=$("$program" "${command[@]}" --help 2>/dev/null) || return
  done
  local offered
  if [[ $previous == --* ]] && offered=$(_handoff_values "$previous" <<<"$help") && [[ -n $offered ]]; then
    :
  elif [[ $current == -* ]]; then
    offered=$(_handoff_listed Options <<<"$help")
  elif offered=$(_handoff_listed Subcommands <<<"$help") && [[ -n $offered ]]; then
    :
  elif [[ ${command[0]:-} == check ]]; then
    compopt -o default 2>/dev/null
    offered=
  elif [[ ${command[0]:-} == wrap ]]; then
    offered=$(_handoff_units)
  elif [[ $help == *NAME* && ${command[0]:-} != demo ]]; then
    offered=$(_handoff_services)
  fi
  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current")
}

complete -F _handoff handoff
