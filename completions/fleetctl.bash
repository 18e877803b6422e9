# bash completion for fleetctl; install: fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
_fleetctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "demo doctor init deploy down gc rebuild rollout scale teardown up catalog coldstart describe events explain logs offers plan ps top daemon decide gateway keys provider run simulate completion image schema validate version --help --version" -- "$word"))
    elif [ "$before" = -o ] || [ "$before" = --output ]; then
        COMPREPLY=($(compgen -W "table json yaml name" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = catalog ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "ls refresh" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = daemon ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "start stop status" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = keys ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "create ls revoke" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = provider ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "ls setup permissions" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = rollout ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "status pause resume undo" -- "$word"))
    elif [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "--help --output -o" -- "$word"))
    else
        compopt -o default
    fi
}
complete -F _fleetctl fleetctl
