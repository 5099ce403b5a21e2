# Completion of handoff(1) for bash. Commands and options are what the program's own help names, services those
# that have a supervisor or a configuration.

_handoff_services() {
  local runtime=${HANDOFF_RUNTIME_DIR:-/run/handoff} file
  [[ $EUID -eq 0 || -n ${HANDOFF_RUNTIME_DIR:-} ]] || runtime=${XDG_RUNTIME_DIR:-/run/user/$EUID}/handoff
  for file in "$runtime"/*.sock /etc/handoff/*.toml; do
    [[ -e $file ]] && basename "${file%.*}"
  done | sort -u
}

# The names that a section of a help text lists first in each line.
_handoff_listed() { # SECTION
  sed -n "/^$1:/,/^\$/s/^  \(-h,\)\{0,1\}\(-\{0,2\}[a-z][-a-z]*\).*/\2/p"
}

# The values in braces behind an option.
_handoff_values() { # OPTION
  sed -n "s/^  $1 [A-Z]*:{\([^}]*\)}.*/\1/p" | tr , ' '
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
  elif [[ $help == *NAME* && ${command[0]:-} != demo ]]; then
    offered=$(_handoff_services)
  fi
  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current")
}

complete -F _handoff handoff
