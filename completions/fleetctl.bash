# bash completion for fleetctl; install: fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
_fleetctl_names() {
    local names
    names=$(command fleetctl __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$word" 2>/dev/null)
    COMPREPLY=($(compgen -W "$names" -- "$word"))
}
_fleetctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path='' at words='' options=''
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
            -o|--output|--columns|--sort-by|--context|--confirm) ((at++)) ;;
            -*) ;;
            *) case " rollout catalog config cost context daemon keys policy pool provider replica schedule standby image " in
                   *" $path "*) [ -n "$path" ] && { path="$path ${COMP_WORDS[at]}"; break; } ;;
               esac
               [ -n "$path" ] && break
               path=${COMP_WORDS[at]} ;;
        esac
    done
    case "$before" in
        -o|--output) COMPREPLY=($(compgen -W "table wide json yaml name csv jsonpath" -- "$word")); return ;;
        --context) _fleetctl_names; return ;;
    esac
    case "$path $before" in
        'demo --trace') compopt -o default 2>/dev/null; return ;;
        'demo --seed') :; return ;;
        'demo --seconds') :; return ;;
        'apply --file'|'apply -f') compopt -o default 2>/dev/null; return ;;
        'apply --max-cost-per-hour') :; return ;;
        'deploy --image') :; return ;;
        'deploy --model') :; return ;;
        'deploy --timeout') :; return ;;
        'down --timeout') :; return ;;
        'rebuild --file'|'rebuild -f') compopt -o default 2>/dev/null; return ;;
        'rollback --to') :; return ;;
        'rollback --timeout') :; return ;;
        'rollout status --interval') :; return ;;
        'rollout undo --to') :; return ;;
        'rollout undo --timeout') :; return ;;
        'scale --for') :; return ;;
        'scale --max-cost-per-hour') :; return ;;
        'up --file'|'up -f') compopt -o default 2>/dev/null; return ;;
        'up --timeout') :; return ;;
        'up --max-cost-per-hour') :; return ;;
        'catalog ls --provider'|'catalog ls -p') :; return ;;
        'catalog ls --gpu') :; return ;;
        'catalog refresh --provider'|'catalog refresh -p') :; return ;;
        'catalog refresh --region'|'catalog refresh -r') :; return ;;
        'catalog refresh --endpoint') :; return ;;
        'coldstart --since') :; return ;;
        'cost now --by') COMPREPLY=($(compgen -W "service pool provider market" -- "$word")); return ;;
        'cost report --since') :; return ;;
        'cost report --by') COMPREPLY=($(compgen -W "service pool provider market" -- "$word")); return ;;
        'diff --file'|'diff -f') compopt -o default 2>/dev/null; return ;;
        'events --since') :; return ;;
        'events --limit') :; return ;;
        'events --interval') :; return ;;
        'explain --at') :; return ;;
        'get --since') :; return ;;
        'get --selector'|'get -l') :; return ;;
        'get --interval') :; return ;;
        'logs --tail') :; return ;;
        'logs --since') :; return ;;
        'logs --stage') :; return ;;
        'offers --gpu'|'offers -g') :; return ;;
        'offers --region'|'offers -r') :; return ;;
        'offers --provider'|'offers -p') :; return ;;
        'offers --max-price') :; return ;;
        'plan --file'|'plan -f') compopt -o default 2>/dev/null; return ;;
        'plan --max-cost-per-hour') :; return ;;
        'plan --out') compopt -o default 2>/dev/null; return ;;
        'ps --selector'|'ps -l') :; return ;;
        'ps --interval') :; return ;;
        'top --interval') :; return ;;
        'top --at') :; return ;;
        'top --replay') :; return ;;
        'top --port') :; return ;;
        'wait --for') :; return ;;
        'wait --timeout') :; return ;;
        'context add --home') :; return ;;
        'context add --store') :; return ;;
        'context add --password-env') :; return ;;
        'daemon logs --tail') :; return ;;
        'decide --service'|'decide -s') compopt -o default 2>/dev/null; return ;;
        'decide --policy') _fleetctl_names; return ;;
        'decide --state') compopt -o default 2>/dev/null; return ;;
        'gateway --replica') _fleetctl_names; return ;;
        'gateway --config') compopt -o default 2>/dev/null; return ;;
        'gateway --auth') :; return ;;
        'gateway --service') _fleetctl_names; return ;;
        'gateway --model') :; return ;;
        'gateway --listen') :; return ;;
        'gateway --queue-timeout') :; return ;;
        'gateway --queue-limit') :; return ;;
        'gateway --workers') :; return ;;
        'gateway --tls-cert') compopt -o default 2>/dev/null; return ;;
        'gateway --tls-key') compopt -o default 2>/dev/null; return ;;
        'gateway --access-log') :; return ;;
        'gateway --metrics') :; return ;;
        'gateway --join') :; return ;;
        'gateway --store') :; return ;;
        'keys create --tenant') :; return ;;
        'keys create --name') _fleetctl_names; return ;;
        'keys create --service') _fleetctl_names; return ;;
        'keys create --priority') COMPREPLY=($(compgen -W "high normal low" -- "$word")); return ;;
        'keys create --expires') :; return ;;
        'policy test --load') :; return ;;
        'policy test --trace') compopt -o default 2>/dev/null; return ;;
        'policy test --service'|'policy test -s') compopt -o default 2>/dev/null; return ;;
        'policy test --set') :; return ;;
        'policy test --boot') :; return ;;
        'policy test --each') :; return ;;
        'policy test --period') :; return ;;
        'provider setup --with') :; return ;;
        'run --file'|'run -f') compopt -o default 2>/dev/null; return ;;
        'run --metrics-listen') :; return ;;
        'schedule next --count') :; return ;;
        'schedule add --cron') :; return ;;
        'schedule add --for') :; return ;;
        'schedule add --min') :; return ;;
        'schedule add --max') :; return ;;
        'schedule add --replicas') :; return ;;
        'schedule add --tz') :; return ;;
        'simulate --service'|'simulate -s') compopt -o default 2>/dev/null; return ;;
        'simulate --policy') _fleetctl_names; return ;;
        'simulate --against') :; return ;;
        'simulate --sweep') :; return ;;
        'simulate --cold') :; return ;;
        'simulate --standby') :; return ;;
        'simulate --since') :; return ;;
        'simulate --from') :; return ;;
        'simulate --length') :; return ;;
        'simulate --seed') :; return ;;
        'simulate --price') :; return ;;
        'standby set --steps') :; return ;;
        'standby set --tier') COMPREPLY=($(compgen -W "hot asleep warm stopped" -- "$word")); return ;;
        'standby promote --steps') :; return ;;
        'standby promote --for') :; return ;;
        'image script --image') :; return ;;
        'import --to') compopt -o default 2>/dev/null; return ;;
        'validate --file'|'validate -f') compopt -o default 2>/dev/null; return ;;
    esac
    case "$path" in
        '') words='demo doctor init apply deploy down gc pause rebuild resume rollback rollout scale teardown undo up catalog coldstart config cost describe diff events exec explain get logs offers plan port-forward ps ssh top wait context daemon decide gateway keys policy pool provider replica run schedule simulate standby completion image import schema validate version help --version' ;;
        'rollout') words='status pause resume undo history' ;;
        'catalog') words='ls refresh' ;;
        'config') words='view set unset' ;;
        'cost') words='now report forecast' ;;
        'context') words='ls show use add rm' ;;
        'daemon') words='start stop status logs install' ;;
        'keys') words='create ls revoke' ;;
        'policy') words='ls show test' ;;
        'pool') words='ls cordon drain uncordon' ;;
        'provider') words='ls permissions setup' ;;
        'replica') words='ls drain rm' ;;
        'schedule') words='ls next add rm run install' ;;
        'standby') words='ls set promote' ;;
        'completion') words='bash zsh fish man' ;;
        'image') words='script' ;;
    esac
    case "$path" in
        'demo') options='--trace --seed --seconds' ;;
        'init') options='--force --dry-run' ;;
        'apply') options='--file -f --yes -y --dry-run --max-cost-per-hour' ;;
        'deploy') options='--image --model --wait --no-wait --timeout --yes -y --dry-run' ;;
        'down') options='--all --wait --no-wait --timeout --dry-run --yes -y' ;;
        'gc') options='--delete --now --yes -y --dry-run' ;;
        'pause') options='--dry-run' ;;
        'rebuild') options='--file -f' ;;
        'resume') options='--dry-run' ;;
        'rollback') options='--to --wait --no-wait --timeout --yes -y --dry-run' ;;
        'rollout status') options='--watch -w --interval' ;;
        'rollout pause') options='--dry-run' ;;
        'rollout resume') options='--dry-run' ;;
        'rollout undo') options='--to --wait --no-wait --timeout --yes -y --dry-run' ;;
        'scale') options='--for --yes -y --dry-run --max-cost-per-hour' ;;
        'teardown') options='--yes -y --dry-run' ;;
        'undo') options='--list --yes -y --dry-run' ;;
        'up') options='--file -f --wait --no-wait --timeout --yes -y --dry-run --max-cost-per-hour' ;;
        'catalog ls') options='--provider -p --gpu' ;;
        'catalog refresh') options='--provider -p --region -r --endpoint --dry-run' ;;
        'coldstart') options='--since' ;;
        'config view') options='--origin' ;;
        'config set') options='--dry-run' ;;
        'config unset') options='--dry-run' ;;
        'cost now') options='--by' ;;
        'cost report') options='--since --by' ;;
        'diff') options='--file -f --detailed-exitcode' ;;
        'events') options='--since --limit --watch -w --interval' ;;
        'explain') options='--at' ;;
        'get') options='--all -a --since --selector -l --watch -w --interval' ;;
        'logs') options='--tail --follow -f --since --stage' ;;
        'offers') options='--gpu -g --spot --region -r --provider -p --max-price --catalog' ;;
        'plan') options='--file -f --max-cost-per-hour --detailed-exitcode --out' ;;
        'ps') options='--replicas -r --instances -i --all -a --selector -l --watch -w --interval' ;;
        'top') options='--read-only --read-write --interval --at --replay --ascii --web --port' ;;
        'wait') options='--for --timeout' ;;
        'context use') options='--dry-run' ;;
        'context add') options='--home --store --password-env --read-only --typed --force --dry-run' ;;
        'context rm') options='--dry-run' ;;
        'daemon start') options='--dry-run' ;;
        'daemon stop') options='--dry-run' ;;
        'daemon logs') options='--tail --follow -f' ;;
        'daemon install') options='--user --system --dry-run --now --uninstall' ;;
        'decide') options='--service -s --policy --state' ;;
        'gateway') options='--replica --config --auth --service --model --listen --queue-timeout --queue-limit --workers --tls-cert --tls-key --access-log --metrics --join --store --check --hash-key' ;;
        'keys create') options='--tenant --name --service --priority --expires --dry-run' ;;
        'keys ls') options='--all -a' ;;
        'keys revoke') options='--dry-run' ;;
        'policy test') options='--load --trace --service -s --set --boot --each --period --all' ;;
        'pool cordon') options='--dry-run' ;;
        'pool drain') options='--yes -y --dry-run' ;;
        'pool uncordon') options='--dry-run' ;;
        'provider setup') options='--with --yes -y --dry-run' ;;
        'replica drain') options='--dry-run' ;;
        'replica rm') options='--now --yes -y --dry-run' ;;
        'run') options='--once --file -f --yes -y --metrics-listen' ;;
        'schedule next') options='--count' ;;
        'schedule add') options='--cron --for --min --max --replicas --tz --yes -y --dry-run' ;;
        'schedule rm') options='--dry-run' ;;
        'schedule run') options='--now --dry-run' ;;
        'schedule install') options='--crontab --systemd --dry-run --uninstall' ;;
        'simulate') options='--service -s --policy --against --sweep --cold --standby --history --since --from --length --seed --best --no-best --price' ;;
        'standby set') options='--steps --tier --yes -y --dry-run' ;;
        'standby promote') options='--steps --for --yes -y --dry-run' ;;
        'image script') options='--image' ;;
        'import') options='--to --dry-run' ;;
        'validate') options='--file -f' ;;
    esac
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$options --help -q --quiet -v --verbose -vv --debug --color --no-color --no-input --columns --sort-by --context --confirm --output -o" -- "$word"))
    elif [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        case "$path" in
            'deploy'|'down'|'pause'|'resume'|'rollback'|'rollout status'|'rollout pause'|'rollout resume'|'rollout undo'|'rollout history'|'scale'|'up'|'coldstart'|'describe'|'diff'|'events'|'explain'|'get'|'logs'|'plan'|'wait'|'context show'|'context use'|'context rm'|'policy show'|'policy test'|'replica drain'|'replica rm'|'schedule ls'|'schedule next'|'schedule rm'|'schedule run'|'schedule install'|'standby set'|'standby promote') _fleetctl_names ;;
            *) compopt -o default 2>/dev/null ;;
        esac
    fi
}
complete -F _fleetctl fleetctl
