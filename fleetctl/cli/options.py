"""What each command takes, written by `make completions` from the commands themselves: change those.

The shapes are those of `lines.py`.
"""

# fmt: off
# ruff: noqa: E501
LINES: dict[str, tuple[str, tuple[tuple[str, str, str, str], ...], tuple[tuple[str, str, bool, str], ...]]] = {
    'demo': (
        'See it all work: a rehearsed fleet under real traffic, in two minutes',
        (
            ('--trace', 'trace', 'file', 'Replay this recorded trace (CSV, may be .gz) instead'),
            ('--seed', 'seed', 'word', 'Seed of the generated traffic'),
            ('--seconds', 'seconds', 'word', 'Length of the traffic'),
        ),
        (),
    ),
    'doctor': (
        'Check this machine, the store, the gateway, the fleet and its clouds',
        (),
        (),
    ),
    'init': (
        'Write a commented, working example into fleet/',
        (
            ('--force', 'force', '', 'Overwrite what is there'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('folder', 'file', False, 'Where to write; the files go into its folder fleet/'),
        ),
    ),
    'apply': (
        'Declare what the files say, or a saved plan; shows the plan, and does not wait',
        (
            ('--file -f', 'file', 'file', 'A file or folder; default fleet/'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
            ('--max-cost-per-hour', 'max_cost_per_hour', 'word', "US dollars that the whole fleet may cost; over the file's own limit"),
        ),
        (
            ('plan', 'file', False, 'What `fleetctl plan --out FILE` saved'),
        ),
    ),
    'deploy': (
        'Roll out another image or model of a service that is up',
        (
            ('--image', 'image', 'word', 'Container image, best by digest'),
            ('--model', 'model', 'word', "Weights, as in a file's model"),
            ('--wait --no-wait', 'wait', '', 'Wait until the new revision serves alone'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'down': (
        'Drain services and give everything back',
        (
            ('--all', 'every', '', 'Every service of the fleet'),
            ('--wait --no-wait', 'wait', '', 'Wait until everything is given back'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
            ('--yes -y', 'yes', '', 'Taken as everywhere; down asks only for a name that is to be typed'),
        ),
        (
            ('services', 'name of service', True, 'Services to take down'),
        ),
    ),
    'gc': (
        'Find what the clouds hold for this fleet and nothing claims, and give it back',
        (
            ('--delete', 'delete', '', 'Delete what has been in quarantine for an hour'),
            ('--now', 'now_too', '', 'With --delete: do not wait for the quarantine'),
            ('--yes -y', 'yes', '', 'Do not ask'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'pause': (
        'Hold a service at the count it has, until fleetctl resume',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rebuild': (
        'Restore a lost store from what the providers list',
        (
            ('--file -f', 'file', 'file', 'A file or folder; default fleet/'),
        ),
        (),
    ),
    'resume': (
        'Let the policy of a service that was paused rule again',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollback': (
        'Go back to an earlier revision of a service, exactly as it was declared',
        (
            ('--to', 'to', 'word', 'This revision, or its first letters'),
            ('--wait --no-wait', 'wait', '', 'Wait until it serves alone'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollout': (
        'A new revision coming in: status, history, pause, resume, undo',
        (),
        (),
    ),
    'rollout status': (
        'Show how far the newest rollout of a service is, and the revisions that are kept',
        (
            ('--watch -w', 'watch', '', 'Until it is over; a pipe gets changes as JSON; exit code 1 if it is given up'),
            ('--interval', 'interval', 'word', 'Between two looks with --watch'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollout pause': (
        'Hold a rollout where it is; scaling goes on, in a revision that is known to work',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollout resume': (
        'Let a rollout that was paused go on',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollout undo': (
        'Go back to the revision before, exactly as it was declared: what still drains or stands by of it serves first',
        (
            ('--to', 'to', 'word', 'This revision, or its first letters'),
            ('--wait --no-wait', 'wait', '', 'Wait until it serves alone'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'rollout history': (
        'List the revisions of a service that are kept, the newest first; each can be gone back to',
        (),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'scale': (
        'Set a count by hand: scale chat=4 --for 2h',
        (
            ('--for', 'duration', 'word', 'So long, as in 2h; afterwards the policy rules again'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
            ('--max-cost-per-hour', 'max_cost_per_hour', 'word', 'US dollars that the whole fleet may cost for this to be done; its own limit stays'),
        ),
        (
            ('counts', 'name of service', True, 'SERVICE=COUNT, or SERVICE=auto to hand it back'),
        ),
    ),
    'teardown': (
        'Remove the networks, keys and disks that a fleet which is down still owns',
        (
            ('--yes -y', 'yes', '', 'Do not ask'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'undo': (
        'Take back the last change of what is wanted: down, up, apply, scale, deploy',
        (
            ('--list', 'every', '', 'List what can be taken back, the newest first'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'up': (
        'Bring services up and wait until they answer; prints their endpoints',
        (
            ('--file -f', 'file', 'file', 'A file or folder; default fleet/'),
            ('--wait --no-wait', 'wait', '', 'Wait until they answer'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
            ('--max-cost-per-hour', 'max_cost_per_hour', 'word', "US dollars that the whole fleet may cost; over the file's own limit"),
        ),
        (
            ('services', 'name of service', True, 'Services to bring up; none: all in the files'),
        ),
    ),
    'catalog': (
        'GPU machine types and their prices: ls, refresh',
        (),
        (),
    ),
    'catalog ls': (
        'List the machine types that fleetctl knows, with the prices it has',
        (
            ('--provider -p', 'provider', 'word', 'Only this one; may be repeated'),
            ('--gpu', 'gpu', 'word', 'Only machines with this GPU, as in H100 or H100:8'),
        ),
        (),
    ),
    'catalog refresh': (
        "Ask the clouds' own price APIs, and keep what they say with its source and date",
        (
            ('--provider -p', 'provider', 'word', 'aws, azure, gcp or gpuhunt; default: those set up'),
            ('--region -r', 'region', 'word', "Default: the regions that the fleet's file names"),
            ('--endpoint', 'endpoint', 'word', 'NAME=URL: ask there instead, as in azure=https://…'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'coldstart': (
        'How long starts take, stage by stage, and what to take out of them',
        (
            ('--since', 'since', 'word', 'How far back starts are looked at'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'config': (
        'What holds for this command line and this fleet, and from where: view, set',
        (),
        (),
    ),
    'config view': (
        "Show what holds: the context, the fleet's folder and store, and the fleet's settings as `up` last saved them",
        (
            ('--origin', 'origin', '', 'With where each value is from'),
        ),
        (),
    ),
    'config set': (
        'Keep a setting in your own file, for every command line from now on',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('key', 'word', False, 'One of output, log, max_cost_per_hour, timeout, no_input'),
            ('value', 'word', False, 'What holds from now on, where no flag and no variable says otherwise'),
        ),
    ),
    'config unset': (
        'Take a setting out of your own file, so that what is built in holds again',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('key', 'word', False, 'One of output, log, max_cost_per_hour, timeout, no_input'),
        ),
    ),
    'cost': (
        'What machines cost: now, so far by the hour, and in the days to come',
        (),
        (),
    ),
    'cost now': (
        'List everything that is billed now, with where each price is from and how old it is',
        (
            ('--by', 'by', 'one of service pool provider market', 'One line for each of these instead of each machine'),
        ),
        (),
    ),
    'cost report': (
        'Tell what was used and what it cost: GPU-hours by use, dollars as quoted, and dollars for a million tokens',
        (
            ('--since', 'since', 'word', 'How far back, in whole hours'),
            ('--by', 'by', 'one of service pool provider market', 'One line for each of these'),
        ),
        (),
    ),
    'cost forecast': (
        'Tell what 24 hours and 30 days cost at the rate of now, by schedules, and at most',
        (),
        (),
    ),
    'describe': (
        'Everything about one service, replica, instance or pool',
        (),
        (
            ('subject', 'name of service replica instance pool', False, 'service/NAME, replica/NAME, instance/NAME or pool/NAME; or the NAME alone'),
        ),
    ),
    'diff': (
        'What the files would change, field by field',
        (
            ('--file -f', 'file', 'file', 'A file or folder; default fleet/'),
            ('--detailed-exitcode', 'detailed_exitcode', '', 'Exit code 10 when something would change'),
        ),
        (
            ('services', 'name of service', True, 'Services to compare; none: all in the files'),
        ),
    ),
    'events': (
        'What happened, and why',
        (
            ('--since', 'since', 'word', 'How far back'),
            ('--limit', 'limit', 'word', 'At most so many, the newest'),
            ('--watch -w', 'watch', '', 'Again and again; a pipe gets changes as JSON'),
            ('--interval', 'interval', 'word', 'Between two looks with --watch'),
        ),
        (
            ('subject', 'name of service replica instance pool', False, 'Only of this: service/chat, replica/…, instance/…, pool/…, or its name alone'),
        ),
    ),
    'exec': (
        'Run a command where a replica runs',
        (),
        (
            ('where', 'word', False, 'A replica, or a service: its newest'),
            ('words', 'word', True, 'After --: the command; without one, a shell'),
        ),
    ),
    'explain': (
        'Why a service has the count it has, and where its machines were asked for',
        (
            ('--at', 'at', 'word', 'At this time: 10m (ago), or 2026-11-21T08:30:00Z'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'get': (
        'Lists of any kind: services, replicas, instances, pools, events, decisions, and more',
        (
            ('--all -a', 'every', '', 'Those that are down or over, too'),
            ('--since', 'since', 'word', 'Of events: how far back'),
            ('--selector -l', 'labels', 'word', 'Only those with these labels: team=search,tier!=test,canary'),
            ('--watch -w', 'watch', '', 'Again and again; a pipe gets changes as JSON'),
            ('--interval', 'interval', 'word', 'Between two looks with --watch'),
        ),
        (
            ('kind', 'word', False, 'services, replicas, instances, pools, events, decisions, schedules, rollouts, starts, keys, tenants, gateways, providers, offers'),
            ('name', 'name of service replica', False, 'This one alone'),
        ),
    ),
    'logs': (
        'What the engine of a replica wrote',
        (
            ('--tail', 'tail', 'word', 'So many lines from the end; not given: 200, or all with --since'),
            ('--follow -f', 'follow', '', 'Go on, as it is written'),
            ('--since', 'since', 'word', 'Only what was written since, as in 10m'),
            ('--stage', 'stage', 'word', 'Instead: a stage of its start, as in weights, image, engine'),
        ),
        (
            ('name', 'name of service replica', False, 'A replica, or a service (its newest replica)'),
        ),
    ),
    'offers': (
        'GPU machines that can be rented now, the least for a GPU first',
        (
            ('--gpu -g', 'gpu', 'word', 'name:count of one machine; repeated: alternatives'),
            ('--spot', 'spot', '', 'The spot market instead of on demand'),
            ('--region -r', 'region', 'word', 'Only here; may be repeated'),
            ('--provider -p', 'provider', 'word', 'Only this one; repeatable'),
            ('--max-price', 'max_price', 'word', 'US dollars an hour of one machine'),
            ('--catalog', 'catalog', '', "From fleetctl's own tables: every cloud, no credentials"),
        ),
        (),
    ),
    'plan': (
        'What the files change and what that costs, before anything is done',
        (
            ('--file -f', 'file', 'file', 'A file or folder; default fleet/'),
            ('--max-cost-per-hour', 'max_cost_per_hour', 'word', "US dollars that the whole fleet may cost; over the file's own limit"),
            ('--detailed-exitcode', 'detailed_exitcode', '', 'Exit code 10 when something would change'),
            ('--out', 'out', 'file', 'Save the plan there, for: fleetctl apply PLAN; it holds for 30 min'),
        ),
        (
            ('services', 'name of service', True, 'Services to bring up; none: all in the files'),
        ),
    ),
    'port-forward': (
        'A port of this computer that leads to a replica, past the gateway',
        (),
        (
            ('where', 'word', False, 'A replica, or a service: its newest'),
            ('ports', 'word', False, "Port here, or HERE:THERE; without THERE the engine's; without any a free one"),
        ),
    ),
    'ps': (
        'Services, replicas, standby and price',
        (
            ('--replicas -r', 'replicas', '', 'List replicas'),
            ('--instances -i', 'instances', '', 'List instances'),
            ('--all -a', 'every', '', 'Services that are down, too'),
            ('--selector -l', 'labels', 'word', 'Only those with these labels: team=search,tier!=test,canary'),
            ('--watch -w', 'watch', '', 'Again and again; a pipe gets changes as JSON'),
            ('--interval', 'interval', 'word', 'Between two looks with --watch'),
        ),
        (),
    ),
    'ssh': (
        'A shell on a machine of the fleet',
        (),
        (
            ('where', 'word', False, 'An instance; or a replica: its machine'),
            ('words', 'word', True, 'After --: a command instead of a shell'),
        ),
    ),
    'top': (
        'The live dashboard: services, demand, pools, decisions and prices; keys: ?',
        (
            ('--read-only --read-write', 'read_only', '', 'Keys that change something are off; the usual thing in a context that is read-only or --typed'),
            ('--interval', 'interval', 'word', 'Between two looks at the store, as in 1s'),
            ('--at', 'at', 'word', 'As it was then: 10m (ago), or 2026-11-21T08:30:00Z'),
            ('--replay', 'replay', 'word', 'Play from then on, ten times as fast'),
            ('--ascii', 'ascii_only', '', 'No characters beyond ASCII'),
            ('--web', 'web', '', 'In a browser on this machine instead, read-only'),
            ('--port', 'port', 'word', 'Of --web'),
        ),
        (),
    ),
    'wait': (
        'Wait until a service, pool, replica or instance is ready or gone',
        (
            ('--for', 'condition', 'word', 'ready, gone, or count=N'),
            ('--timeout', 'timeout', 'word', 'Stop waiting after this long; the fleet goes on'),
        ),
        (
            ('subject', 'name of service replica instance pool', False, 'service/NAME, pool/NAME, replica/NAME, instance/NAME, or a name'),
        ),
    ),
    'context': (
        'Fleets by name: ls, show, use, add, rm',
        (),
        (),
    ),
    'context ls': (
        'List the contexts, and which one is in use',
        (),
        (),
    ),
    'context show': (
        'Show one context: where its fleet is, and what may be done there',
        (),
        (
            ('context', 'name of context', False, 'A context; default the one in use'),
        ),
    ),
    'context use': (
        'Use a context from now on, wherever no other is named',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('context', 'name of context', False, 'The context'),
        ),
    ),
    'context add': (
        'Add a context; the first one is in use at once',
        (
            ('--home', 'home', 'word', "The fleet's folder on this machine"),
            ('--store', 'store', 'word', 'Its store, as postgresql://USER@HOST/DATABASE; no password in it'),
            ('--password-env', 'password_env', 'word', "The environment variable that holds the store's password"),
            ('--read-only', 'read_only', '', 'Refuse every command that changes something'),
            ('--typed', 'typed', '', "Have the context's name typed before something is rented or taken down"),
            ('--force', 'force', '', 'In place of one of that name'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('name', 'word', False, 'The context'),
        ),
    ),
    'context rm': (
        'Forget a context',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('context', 'name of context', False, 'The context'),
        ),
    ),
    'daemon': (
        'Run the loop in the background: start, stop, status, logs, install',
        (),
        (),
    ),
    'daemon start': (
        'Start the loop in the background; it goes on when this terminal closes',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'daemon stop': (
        'Stop the loop; replicas and gateway go on as they are',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'daemon status': (
        'Say who controls the fleet, when it last decided and how late its ticks are',
        (),
        (),
    ),
    'daemon logs': (
        'Print the end of the log of the daemon that `daemon start` started; under systemd: journalctl',
        (
            ('--tail', 'lines', 'word', 'So many lines from the end'),
            ('--follow -f', 'follow', '', 'Go on, as it is written'),
        ),
        (),
    ),
    'daemon install': (
        'Put the loop under systemd: started with the machine, watched, started anew when it fails',
        (
            ('--user', 'user', '', 'As a unit of your own systemd (the usual, unless root)'),
            ('--system', 'system', '', 'As a unit of the system; needs root'),
            ('--dry-run', 'dry_run', '', 'Print the unit; change nothing'),
            ('--now', 'at_once', '', 'Start it, too'),
            ('--uninstall', 'uninstall', '', 'Take the unit away again'),
        ),
        (),
    ),
    'decide': (
        'The brain as a filter: observations in, decisions out, as JSON lines',
        (
            ('--service -s', 'service', 'file', 'A file or folder that declares the services'),
            ('--policy', 'policy', 'name of policy', "Use this preset instead of the files' own"),
            ('--state', 'state', 'file', 'Go on where it stopped; kept after every line'),
        ),
        (),
    ),
    'gateway': (
        'Queue and route requests to engines of your own, or join a fleet',
        (
            ('--replica', 'replica', 'name of replica', 'An engine, and the requests it serves at once; repeatable'),
            ('--config', 'config', 'file', 'All of it from a file: docs/gateway.md'),
            ('--auth', 'auth', 'word', 'Let everybody in; keys stand in the file'),
            ('--service', 'service', 'name of service', 'The name of what the replicas serve'),
            ('--model', 'model', 'word', 'A value of `model` for it; default: what the replicas list'),
            ('--listen', 'listen', 'word', 'Where requests come in; default 127.0.0.1:8080'),
            ('--queue-timeout', 'queue_timeout', 'word', 'The longest wait for a slot; what would wait longer is refused'),
            ('--queue-limit', 'queue_limit', 'word', 'Requests that may wait; default 10000'),
            ('--workers', 'workers', 'word', 'Processes that carry requests; default 1'),
            ('--tls-cert', 'tls_cert', 'file', 'PEM certificate: serve HTTPS'),
            ('--tls-key', 'tls_key', 'file', 'Its key, if it is in another file'),
            ('--access-log', 'access_log', 'word', 'A line of JSON for each request'),
            ('--metrics', 'metrics', 'word', 'Where /metrics and /healthz are served, and nothing else'),
            ('--join', 'join', 'word', 'Join a fleet as one more gateway of this name instead'),
            ('--store', 'store', 'word', "With --join: the fleet's store; default: this home's"),
            ('--check', 'check', '', 'Look at options, file and certificate, and end'),
            ('--hash-key', 'hash_key', '', 'Read an API key from stdin, print the sha256 for the file, and end'),
        ),
        (),
    ),
    'keys': (
        'API keys of the gateway: create, ls, revoke',
        (),
        (),
    ),
    'keys create': (
        'Make a key and print it: alone on stdout, once',
        (
            ('--tenant', 'tenant', 'word', 'Whose key it is; not given: default'),
            ('--name', 'name', 'name of service replica', 'What to call it in lists, and to revoke it by'),
            ('--service', 'service', 'name of service', "A service that it opens, may be repeated; not given: its tenant's"),
            ('--priority', 'priority', 'one of high normal low', "Not earlier than its tenant's; not given: its tenant's"),
            ('--expires', 'expires', 'word', 'How long it opens, as in 90d; not given: until revoked'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (),
    ),
    'keys ls': (
        'List keys by their public part',
        (
            ('--all -a', 'every', '', 'Those that are expired or revoked, too'),
        ),
        (),
    ),
    'keys revoke': (
        'End keys at once, by id or name',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('keys', 'word', True, 'Ids or names'),
        ),
    ),
    'policy': (
        'Rules that turn load into a count: ls, show, test',
        (),
        (),
    ),
    'policy ls': (
        'List presets: those that come with fleetctl, and your own in ./policies or named by a service',
        (),
        (),
    ),
    'policy show': (
        'Print a preset as YAML: each value with the line it comes from and what it means',
        (),
        (
            ('name', 'name of service replica', False, 'A preset, or the path of its YAML file'),
        ),
    ),
    'policy test': (
        "Show what a policy would decide over a given load, and why: the same brain as the fleet's own",
        (
            ('--load', 'load', 'word', 'Requests at once, in turn: 0,10,50,10'),
            ('--trace', 'trace', 'file', 'Or a CSV (may be .gz): arrival_s,input_tokens,output_tokens'),
            ('--service -s', 'service', 'file', 'The file of a service; else one of 16 at once, 0 to 20'),
            ('--set', 'knob', 'word', 'As scaling.target=0.6'),
            ('--boot', 'boot', 'word', 'From an order to a ready replica'),
            ('--each', 'each', 'word', 'How long each load lasts'),
            ('--period', 'period', 'word', 'Between two decisions'),
            ('--all', 'every', '', 'Every decision, not only where something changes'),
        ),
        (
            ('name', 'name of service replica', False, 'A preset, or the path of its YAML file'),
        ),
    ),
    'pool': (
        'Pools of machines: ls, cordon, uncordon, drain',
        (),
        (),
    ),
    'pool ls': (
        'List pools: what each holds, whether anything may be placed there, and what it costs',
        (),
        (),
    ),
    'pool cordon': (
        'Place nothing new there: no machine is launched, no replica put on one',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('where', 'word', False, 'A pool, or one machine as instance/ID'),
        ),
    ),
    'pool drain': (
        'Cordon it and move off what runs there: others first take over; machines are given back once they are empty',
        (
            ('--yes -y', 'yes', '', 'Do not ask'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('where', 'word', False, 'A pool, or one machine as instance/ID'),
        ),
    ),
    'pool uncordon': (
        'Let machines and replicas be placed there again; ends a drain, too',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('where', 'word', False, 'A pool, or one machine as instance/ID'),
        ),
    ),
    'provider': (
        'Sources of machines: ls, setup, permissions',
        (),
        (),
    ),
    'provider ls': (
        'List the providers there are, and which of them this fleet may use',
        (),
        (),
    ),
    'provider permissions': (
        "Print the least that the provider's credentials must be allowed, as the cloud's own tools take it",
        (),
        (
            ('provider', 'word', False, 'aws, gcp or azure'),
        ),
    ),
    'provider setup': (
        'Make the environment that a provider needs beside fleetctl, or bring it up to date',
        (
            ('--with', 'extras', 'word', 'What to add, by commas: for sky its clouds, as in lambda,runpod'),
            ('--yes -y', 'yes', '', 'Do not ask'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('provider', 'word', False, 'sky'),
        ),
    ),
    'replica': (
        'Single replicas: ls, drain, rm',
        (),
        (),
    ),
    'replica ls': (
        'List replicas, as `ps -r` does',
        (),
        (),
    ),
    'replica drain': (
        'Put another one in its place, then let it end what it serves and stop it',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('replica', 'name of replica', False, "The replica's id, as ps -r tells it"),
        ),
    ),
    'replica rm': (
        'Replace a replica',
        (
            ('--now', 'at_once', '', 'Without a drain: what it serves is cut off'),
            ('--yes -y', 'yes', '', 'Do not ask'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('replica', 'name of replica', False, "The replica's id, as ps -r tells it"),
        ),
    ),
    'run': (
        'Run the autoscaling loop in the foreground',
        (
            ('--once', 'once', '', 'One tick, then end'),
            ('--file -f', 'file', 'file', 'Declare the services of these files first'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--metrics-listen', 'metrics_listen', 'word', "host:port of /metrics and /healthz; over the file's own"),
        ),
        (),
    ),
    'schedule': (
        'Floors and ceilings by the clock: ls, next, add, rm, run, install',
        (),
        (),
    ),
    'schedule ls': (
        'List schedules: those of the files, those added by command, and those that `run` put in force',
        (),
        (
            ('service', 'name of service', False, 'Of this service alone'),
        ),
    ),
    'schedule next': (
        'Show what comes: when, by which clock, which schedule wins, and what it changes in replicas and dollars',
        (
            ('--count', 'count', 'word', 'So many turns'),
        ),
        (
            ('service', 'name of service', False, 'Of this service alone'),
        ),
    ),
    'schedule add': (
        "Add a schedule beside those of the service's file",
        (
            ('--cron', 'cron', 'word', "When it begins, as '0 8 * * mon-fri'"),
            ('--for', 'duration', 'word', 'How long it holds from each beginning, as in 10h'),
            ('--min', 'least', 'word', 'A floor: never fewer'),
            ('--max', 'most', 'word', 'A ceiling: never more'),
            ('--replicas', 'replicas', 'word', 'Exactly so many'),
            ('--tz', 'tz', 'word', 'The zone that --cron is in; else UTC'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'word', False, 'The service'),
        ),
    ),
    'schedule rm': (
        'Take back a schedule that was added by command, or what `run` put in force; what a file has stays',
        (
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, "The service, or a schedule's whole name"),
            ('number', 'word', False, 'Its N in: fleetctl schedule ls'),
        ),
    ),
    'schedule run': (
        'Put a schedule in force until its end: what cron lines and timers call',
        (
            ('--now', 'now_', '', 'Outside of its time too: from now on for as long as it lasts'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('name', 'name of service replica', False, 'As `fleetctl schedule ls` has it: chat/3f2a9c, or chat/1'),
        ),
    ),
    'schedule install': (
        'Have cron or systemd call `schedule run` at each beginning, in place of what was installed before',
        (
            ('--crontab', 'crontab', '', 'As lines of your crontab'),
            ('--systemd', 'systemd', '', 'As timers of your own systemd'),
            ('--dry-run', 'dry_run', '', 'Print them; change nothing'),
            ('--uninstall', 'uninstall', '', 'Take all of this fleet away again'),
        ),
        (
            ('services', 'name of service', True, 'Of these services; none: of all'),
        ),
    ),
    'simulate': (
        'What an autoscaler would have done with recorded traffic, side by side',
        (
            ('--service -s', 'service', 'file', 'The file of the services that get this traffic'),
            ('--policy', 'policy', 'name of policy', "A preset or its YAML file; none: the service file's own"),
            ('--against', 'against', 'word', 'Peers, e.g'),
            ('--sweep', 'sweep', 'word', 'Try every value, e.g'),
            ('--cold', 'cold', 'word', 'Median cold start; else as the file guesses, else 270s'),
            ('--standby', 'standby', 'word', "Median start from standby; else the file's, else 8s"),
            ('--history', 'history', '', "Instead of traces: what this fleet's store recorded of the services"),
            ('--since', 'since', 'word', 'With --history: go back so far'),
            ('--from', 'begin', 'word', 'Begin there in the trace'),
            ('--length', 'length', 'word', 'Take so much of it'),
            ('--seed', 'seed', 'word', "Of the starts' lengths"),
            ('--best --no-best', 'best', '', 'Compare with the best schedule known afterwards'),
            ('--price', 'price', 'word', 'US dollars of one GPU for an hour'),
        ),
        (
            ('traces', 'word', True, 'CSV (may be .gz): arrival_s,input_tokens,output_tokens'),
        ),
    ),
    'standby': (
        'Capacity that stands by: ls, set, promote',
        (),
        (),
    ),
    'standby ls': (
        'List what stands by for each service, in which tier, of how much',
        (),
        (),
    ),
    'standby set': (
        'Set how much stands by for a service, and how warm',
        (
            ('--steps', 'steps', 'word', 'Scale steps that stand by; 0: nothing'),
            ('--tier', 'tier', 'one of hot asleep warm stopped', 'How warm'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'standby promote': (
        'Let what stands by serve, for a while: `scale` by steps',
        (
            ('--steps', 'steps', 'word', 'So many scale steps more'),
            ('--for', 'duration', 'word', 'So long; afterwards the policy rules again'),
            ('--yes -y', 'yes', '', 'Do not ask before machines are rented'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('service', 'name of service', False, 'The service'),
        ),
    ),
    'completion': (
        'Print the completion script of bash, zsh or fish, or the manual page',
        (),
        (
            ('shell', 'one of bash zsh fish man', False, 'bash, zsh or fish; man: the manual page'),
        ),
    ),
    'image': (
        'The script that makes a machine, or an image of one, ready for a fleet',
        (),
        (),
    ),
    'image script': (
        "Print the script that prepares a machine: run it as root on one, make an image of that, and name the image in the provider's settings",
        (
            ('--image', 'image', 'word', 'A container image to hold; may be repeated'),
        ),
        (),
    ),
    'import': (
        'A service of SkyServe, dstack, Knative, KEDA or an HPA as a file of ours',
        (
            ('--to', 'to', 'file', 'A folder to write NAME.yaml into, instead of printing it'),
            ('--dry-run', 'dry_run', '', 'Say what would be done, and do nothing'),
        ),
        (
            ('source', 'word', False, 'sky, dstack, knative, keda or hpa'),
            ('file', 'file', False, 'Their file; - reads it from the standard input'),
        ),
    ),
    'schema': (
        'Print the JSON Schema of the files',
        (),
        (
            ('kind', 'word', False, "service, pool, fleet, tenant, preset or gateway; none: any of a fleet's"),
        ),
    ),
    'validate': (
        'Check fleet files without touching anything',
        (
            ('--file -f', 'file', 'file', 'The same'),
        ),
        (
            ('files', 'file', True, 'Files or folders; default fleet/'),
        ),
    ),
    'version': (
        'Print the version',
        (),
        (),
    ),
}
