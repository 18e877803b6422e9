"""What `fleetctl help TOPIC` says: text, and nothing that must be imported."""

from fleetctl.cli.asked import FORMS, LEVELS

EXIT_CODES = """\
Exit codes:
    0  ok
    1  failure
    2  usage: the words of the command, or a file, are wrong
    3  confirmation needed: it spends or destroys, nobody said yes (--yes), and nobody could be asked
    4  not found
    5  authentication or permission
    6  timeout: it still goes on; the hint says how to wait for it
    7  conflict: another controller, a newer store, a plan that is out of date
    8  no capacity, or a quota is used up
    9  over budget (--max-cost-per-hour)
   10  plan --detailed-exitcode: there is something to change
  130  interrupted (Ctrl-C); nothing is undone
"""

OUTPUT = f"""\
Results go to stdout; progress, questions, warnings and hints to stderr.

Every command takes -o, before or after its name: {", ".join(FORMS)}.
  table      for people; columns give way to a narrow terminal, a pipe gets all of them
  wide       every column there is
  json       one document: {{"apiVersion", "kind": "List", "items": [...]}} for a list
  yaml       the same
  name       one kind/name per line, as other commands take it
  csv        the fields of each item, with a header; what has parts is JSON
  jsonpath=  -o jsonpath='{{.items[*].name}}', or
             -o jsonpath='{{range .items[*]}}{{.name}}{{"\\t"}}{{.state}}{{"\\n"}}{{end}}'
             .field, ['field'], [0], [-1], [*], range, end and text in quotes; filters are not understood
An error is {{"error": {{"code", "message", "hint", "retryable"}}}} in json and yaml, a row in csv; else on stderr.
FLEETCTL_OUTPUT is the form where -o is not given.

Lists take --columns A,B (of a table by header, of csv by field) and --sort-by A (-A: the other way round).
Watched (-w, --interval 2s), a list is redrawn on a terminal; a pipe gets a line for each change:
  {{"type": "ADDED|MODIFIED|DELETED", "object": {{...}}}}

-q says names and errors only; -v says what is done, -vv (--debug) every request, with secrets taken out.
--color, --no-color: whether there are colours; else the terminal and the environment decide (fleetctl help env).
"""

ENV = f"""\
Which fleet:
  FLEETCTL_HOME               the folder of the fleet and of all that is yours; wins over every context
  FLEETCTL_CONTEXT            the context, as --context
  FLEETCTL_CONFIG             your file of contexts and settings; without it config.yaml in FLEETCTL_HOME, or
                              fleetctl/config.yaml in the XDG config folder
  FLEETCTL_STORE              beside FLEETCTL_HOME: the address of its store
How it answers:
  FLEETCTL_OUTPUT             the form of output where -o is not given (fleetctl help output)
  FLEETCTL_LOG                {", ".join(LEVELS)}: as -q, -v and -vv
  NO_COLOR                    not empty: no colours
  FORCE_COLOR                 not empty and not 0: colours into pipes, too
  CLICOLOR=0, TERM=dumb       no colours
  COLUMNS                     the width of tables and pictures
Money and questions:
  FLEETCTL_YES                not empty and not 0: as --yes
  FLEETCTL_NO_INPUT           not empty and not 0: nobody is asked, as --no-input
  FLEETCTL_CONFIRM            the context's name where that is asked for, as --confirm
  CI                          not empty: nobody is asked, as without a terminal
  FLEETCTL_MAX_COST_PER_HOUR  as --max-cost-per-hour
  FLEETCTL_TIMEOUT            as --timeout of what waits
What a flag says wins over the environment, and the environment over files. Settings of yours, for every command:
fleetctl config set KEY VALUE; what holds, and where it is from: fleetctl config view --origin.
"""

TOPICS = {"exit-codes": EXIT_CODES, "output": OUTPUT, "env": ENV}
