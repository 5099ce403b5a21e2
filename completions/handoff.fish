# Completion of handoff(1) for fish. Commands and options are what the program's own help names, services those
# that have a supervisor or a configuration.

# As handoff finds them: a service of another user has its socket in a directory of its own.
function __handoff_services
    set -l directories /run/handoff
    set -l own /run/user/(id -u)
    set -q XDG_RUNTIME_DIR; and set own $XDG_RUNTIME_DIR
    test (id -u) -eq 0; or set -p directories $own/handoff
    set -q HANDOFF_RUNTIME_DIR; and set directories $HANDOFF_RUNTIME_DIR
    set -l configurations ~/.config
    set -q XDG_CONFIG_HOME; and set configurations $XDG_CONFIG_HOME
    set -l files $directories/*.sock /etc/handoff/*.toml $configurations/handoff/*.toml
    for file in $directories/*/*.sock
        test (basename (dirname $file)) = (basename $file .sock); and set -a files $file
    end
    for file in $files
        basename $file | string replace -r '\.[^.]*$' ''
    end | sort -u
end

function __handoff_units
    systemctl list-unit-files --type=service --no-legend --no-pager 2>/dev/null | string replace -r '\.service .*' ''
end

# The help of the command that is being written.
function __handoff_help
    set -l command
    set -l help (handoff --help 2>/dev/null)
    for word in (commandline -opc)[2..]
        string match -qr -- "^  $word " $help; or continue
        set -a command $word
        set help (handoff $command --help 2>/dev/null)
    end
    string join \n -- $help
end

function __handoff_listed --argument-names section
    __handoff_help | sed -n "/^$section:/,/^\$/s/^  \(-h,\)\{0,1\}\(-\{0,2\}[a-z][-a-z]*\)[^ ]* *[A-Z]*[^ ]*  *\(.*\)/\2\t\3/p"
end

function __handoff_arguments
    set -l commands (__handoff_listed Subcommands)
    if test -n "$commands"
        string join \n -- $commands
    else
        __handoff_services
    end
end

complete -c handoff -f
complete -c handoff -n 'not __fish_seen_subcommand_from check demo wrap' -a '(__handoff_arguments)'
complete -c handoff -n '__fish_seen_subcommand_from check' -F
complete -c handoff -n '__fish_seen_subcommand_from wrap' -a '(__handoff_units)'
complete -c handoff -n 'string match -q -- "-*" (commandline -ct)' -a '(__handoff_listed Options)'
