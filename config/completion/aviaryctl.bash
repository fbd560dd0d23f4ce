# Completion of aviaryctl for bash; written by `aviaryctl completion bash`.

_aviaryctl_groups() { echo "device group model version artifact release rollout profile offload telemetry alert rule receiver upstream check command token audit events stats health backup restore import judge detect completion help"; }
_aviaryctl_global() { echo "--url --token-file --ca --config --timeout --idempotency-key --json --quiet --colour --help --version"; }

_aviaryctl_values() {
	case $1 in
	DEVICE) timeout 2 aviaryctl device list --quiet --limit 1000 2>/dev/null ;;
	GROUP) timeout 2 aviaryctl group list --quiet --limit 1000 2>/dev/null ;;
	MODEL) timeout 2 aviaryctl model list --quiet --limit 1000 2>/dev/null ;;
	RELEASE) timeout 2 aviaryctl release list --quiet --limit 1000 2>/dev/null ;;
	ROLLOUT) timeout 2 aviaryctl rollout list --quiet --limit 1000 2>/dev/null ;;
	ALERT) timeout 2 aviaryctl alert list --quiet --limit 1000 2>/dev/null ;;
	RULE) timeout 2 aviaryctl rule list --quiet --limit 1000 2>/dev/null ;;
	TOKEN) timeout 2 aviaryctl token list --quiet --limit 1000 2>/dev/null ;;
	SILENCE) timeout 2 aviaryctl alert silences --quiet --limit 1000 2>/dev/null ;;
	RECEIVER) timeout 2 aviaryctl receiver list --quiet --limit 1000 2>/dev/null ;;
	DELIVERY) timeout 2 aviaryctl receiver deliveries --quiet --limit 1000 2>/dev/null ;;
	SHELL) echo bash zsh ;;
	'COMMAND...') _aviaryctl_groups ;;
	esac
}

# These fill the variables of _aviaryctl, which calls them.
_aviaryctl_commands() {
	case $group in
	device) commands="list show add import edit tag delete desired reported explain override overrides override-end credential" ;;
	group) commands="list show create edit delete members change" ;;
	model) commands="list show create edit delete inspect" ;;
	version) commands="list show create report delete" ;;
	artifact) commands="list show upload download delete" ;;
	release) commands="list show create delete check manifest verify" ;;
	rollout) commands="list show create watch explain stages deployments verdicts blocks events start pause resume approve promote retry abort revert delete" ;;
	profile) commands="list import delete" ;;
	offload) commands="show set remove" ;;
	telemetry) commands="query metrics" ;;
	alert) commands="list show ack silence silences expire" ;;
	rule) commands="list show create edit delete test" ;;
	receiver) commands="list show create edit delete test deliveries delivery resend" ;;
	upstream) commands="list show add edit remove check versions" ;;
	check) commands="list show create edit delete run matrix results" ;;
	command) commands="list show send devices cancel" ;;
	token) commands="list show create revoke" ;;
	audit) commands="" ;;
	events) commands="" ;;
	stats) commands="" ;;
	health) commands="" ;;
	backup) commands="" ;;
	restore) commands="" ;;
	import) commands="hawkbit" ;;
	judge) commands="" ;;
	detect) commands="" ;;
	completion) commands="" ;;
	help) commands="" ;;
	esac
}

_aviaryctl_of_command() {
	case "$group $command" in
	"device list") options="--filter --group --sort --limit --all" args="" ;;
	"device show") options="" args="DEVICE" ;;
	"device add") options="--hardware --name --attribute --tag" args="DEVICE" ;;
	"device import") options="" args="FILE" ;;
	"device edit") options="--name --attribute --tag" args="DEVICE" ;;
	"device tag") options="--add --remove" args="DEVICE" ;;
	"device delete") options="--force" args="DEVICE" ;;
	"device desired") options="--put --merge" args="DEVICE" ;;
	"device reported") options="" args="DEVICE" ;;
	"device explain") options="--release" args="DEVICE" ;;
	"device override") options="--reason" args="DEVICE MODEL VARIANT" ;;
	"device overrides") options="" args="DEVICE" ;;
	"device override-end") options="" args="DEVICE MODEL" ;;
	"device credential") options="--forget" args="DEVICE" ;;
	"group list") options="--limit --all" args="" ;;
	"group show") options="" args="GROUP" ;;
	"group create") options="--description --filter" args="GROUP" ;;
	"group edit") options="--description --filter" args="GROUP" ;;
	"group delete") options="" args="GROUP" ;;
	"group members") options="--filter --sort --limit --all" args="GROUP" ;;
	"group change") options="--add --remove" args="GROUP" ;;
	"model list") options="--sort --limit --all" args="" ;;
	"model show") options="" args="MODEL" ;;
	"model create") options="--kind --description" args="MODEL" ;;
	"model edit") options="--description" args="MODEL" ;;
	"model delete") options="" args="MODEL" ;;
	"model inspect") options="--declared" args="FILE" ;;
	"version ") options="" args="" ;;
	"version list") options="--sort --limit --all" args="MODEL" ;;
	"version show") options="" args="MODEL VERSION" ;;
	"version create") options="--notes" args="MODEL VERSION" ;;
	"version report") options="--release" args="MODEL VERSION" ;;
	"version delete") options="" args="MODEL VERSION" ;;
	"artifact list") options="--limit --all" args="MODEL VERSION" ;;
	"artifact show") options="" args="ARTIFACT" ;;
	"artifact upload") options="--hardware --variant --declared --name --attempts" args="MODEL VERSION FILE" ;;
	"artifact download") options="--attempts" args="ARTIFACT FILE" ;;
	"artifact delete") options="" args="ARTIFACT" ;;
	"release list") options="--sort --limit --all" args="" ;;
	"release show") options="" args="RELEASE" ;;
	"release create") options="--component --description --with-config --objective" args="RELEASE" ;;
	"release delete") options="" args="RELEASE" ;;
	"release check") options="--filter --group" args="RELEASE" ;;
	"release manifest") options="--output --bytes" args="RELEASE" ;;
	"release verify") options="--key --artifact --least-counter" args="FILE" ;;
	"rollout list") options="--status --limit --all" args="" ;;
	"rollout show") options="" args="ROLLOUT" ;;
	"rollout create") options="--name --release --filter --group --stage --shadow --gate --start --approval --soak --install-timeout --retries --rate --window --success --error --on-error --alpha --beta --reports-planned --max-bake --on-inconclusive --hard-stop --control --sham --stratum --device --dry-run --watch" args="[FILE]" ;;
	"rollout watch") options="" args="ROLLOUT" ;;
	"rollout explain") options="" args="ROLLOUT" ;;
	"rollout stages") options="" args="ROLLOUT" ;;
	"rollout deployments") options="--state --stage --limit --all" args="ROLLOUT" ;;
	"rollout verdicts") options="" args="ROLLOUT" ;;
	"rollout blocks") options="--stage --limit --all" args="ROLLOUT" ;;
	"rollout events") options="--limit --all" args="ROLLOUT" ;;
	"rollout start") options="--watch" args="ROLLOUT" ;;
	"rollout pause") options="--watch" args="ROLLOUT" ;;
	"rollout resume") options="--watch" args="ROLLOUT" ;;
	"rollout approve") options="--watch" args="ROLLOUT" ;;
	"rollout promote") options="--watch" args="ROLLOUT" ;;
	"rollout retry") options="--watch" args="ROLLOUT" ;;
	"rollout abort") options="--watch" args="ROLLOUT" ;;
	"rollout revert") options="--watch" args="ROLLOUT" ;;
	"rollout delete") options="" args="ROLLOUT" ;;
	"profile list") options="--hardware --model --model-version --variant --source --contexts --limit --all" args="" ;;
	"profile import") options="--origin --hardware --model --variant --model-version --mapped-only" args="FILE" ;;
	"profile delete") options="" args="ORIGIN" ;;
	"offload show") options="" args="MODEL" ;;
	"offload set") options="--endpoint --target --margin --audit --link --rssi --rate --battery --budget --per --fit-every --rate-max --agreement-min --agreement-max --cost-max" args="MODEL" ;;
	"offload remove") options="" args="MODEL" ;;
	"telemetry query") options="--metric --device --filter --model --model-version --from --to --step --aggregate --by --raw --limit" args="" ;;
	"telemetry metrics") options="" args="" ;;
	"alert list") options="--status --severity --kind --resource --cohort --metric --silenced --inhibited --limit --all" args="" ;;
	"alert show") options="" args="ALERT" ;;
	"alert ack") options="" args="ALERT" ;;
	"alert silence") options="--for --until --from --comment" args="MATCHER..." ;;
	"alert silences") options="--active --limit --all" args="" ;;
	"alert expire") options="" args="SILENCE" ;;
	"rule list") options="--limit --all" args="" ;;
	"rule show") options="" args="RULE" ;;
	"rule create") options="--kind --subject --clear --keep-firing-for --stale --samples-over --samples-of --hold --damped --summary --description --label --annotation --metric --operator --threshold --for --filter --severity" args="NAME" ;;
	"rule edit") options="--name --kind --subject --clear --keep-firing-for --stale --samples-over --samples-of --hold --damped --summary --description --label --annotation --metric --operator --threshold --for --filter --severity" args="RULE" ;;
	"rule delete") options="" args="RULE" ;;
	"rule test") options="--from --to" args="FILE" ;;
	"receiver list") options="--limit --all" args="" ;;
	"receiver show") options="" args="RECEIVER" ;;
	"receiver create") options="--type --url --secret --matchers --ca-file --user --sender --recipient --title --text --body --wait --interval --repeat --per-minute --timeout" args="NAME" ;;
	"receiver edit") options="--name --enabled --url --secret --matchers --ca-file --user --sender --recipient --title --text --body --wait --interval --repeat --per-minute --timeout" args="RECEIVER" ;;
	"receiver delete") options="" args="RECEIVER" ;;
	"receiver test") options="" args="RECEIVER" ;;
	"receiver deliveries") options="--receiver --status --limit --all" args="" ;;
	"receiver delivery") options="" args="DELIVERY" ;;
	"receiver resend") options="" args="DELIVERY" ;;
	"upstream list") options="--limit --all" args="" ;;
	"upstream show") options="" args="UPSTREAM" ;;
	"upstream add") options="--model --kind --from --prefix --public-key --auth --user --secret --ca-file --interval --alert-after --action --margin --quality --rollout --policy" args="NAME" ;;
	"upstream edit") options="--enabled --from --prefix --public-key --auth --user --secret --ca-file --interval --alert-after --action --margin --quality --rollout --policy" args="UPSTREAM" ;;
	"upstream remove") options="" args="UPSTREAM" ;;
	"upstream check") options="--now" args="UPSTREAM" ;;
	"upstream versions") options="--limit --all" args="UPSTREAM" ;;
	"check list") options="" args="" ;;
	"check show") options="" args="CHECK" ;;
	"check create") options="--kind --hardware --model --filter --metric --operator --threshold --window --every --answer-within --contexts --severity" args="NAME" ;;
	"check edit") options="--operator --threshold --window --every --answer-within --contexts --severity" args="CHECK" ;;
	"check delete") options="" args="CHECK" ;;
	"check run") options="--device --group --filter" args="CHECK" ;;
	"check matrix") options="--check --hardware --cell" args="" ;;
	"check results") options="" args="DEVICE" ;;
	"command list") options="--limit --all" args="" ;;
	"command show") options="" args="COMMAND" ;;
	"command send") options="--device --group --filter --params --timeout-ms --rate" args="KIND" ;;
	"command devices") options="--state --limit --all" args="COMMAND" ;;
	"command cancel") options="" args="COMMAND" ;;
	"token list") options="--limit --all" args="" ;;
	"token show") options="" args="TOKEN" ;;
	"token create") options="--kind --role --expires --uses" args="NAME" ;;
	"token revoke") options="" args="TOKEN" ;;
	"audit ") options="--resource --who --action --from --to --limit --all" args="" ;;
	"events ") options="--kind --resource --after --count" args="" ;;
	"stats ") options="" args="" ;;
	"health ") options="" args="" ;;
	"backup ") options="" args="" ;;
	"restore ") options="--check --replace" args="BACKUP_DIR [STATE_DIR]" ;;
	"import hawkbit") options="--user --password-file --what --state --page --attempts --dry-run --hardware" args="URL" ;;
	"judge ") options="--scores --integer --paired --kind --worse --margin --ni-margin --weight --scale --alpha --beta --hold-p --alpha-look" args="FILE" ;;
	"detect ") options="--compact --age-after" args="" ;;
	"completion ") options="" args="SHELL" ;;
	"help ") options="--man" args="[COMMAND...]" ;;
	esac
	case "$group $command $previous" in
	"device list --filter") wants="RSQL" choices="" ;;
	"device list --group") wants="GROUP" choices="" ;;
	"device list --sort") wants="FIELD" choices="" ;;
	"device list --limit") wants="N" choices="" ;;
	"device add --hardware") wants="CLASS" choices="" ;;
	"device add --name") wants="TEXT" choices="" ;;
	"device add --attribute") wants="NAME=VALUE" choices="" ;;
	"device add --tag") wants="TAG" choices="" ;;
	"device edit --name") wants="TEXT" choices="" ;;
	"device edit --attribute") wants="NAME=VALUE" choices="" ;;
	"device edit --tag") wants="TAG" choices="" ;;
	"device tag --add") wants="TAG" choices="" ;;
	"device tag --remove") wants="TAG" choices="" ;;
	"device desired --put") wants="JSON" choices="" ;;
	"device desired --merge") wants="JSON" choices="" ;;
	"device explain --release") wants="RELEASE" choices="" ;;
	"device override --reason") wants="TEXT" choices="" ;;
	"group list --limit") wants="N" choices="" ;;
	"group create --description") wants="TEXT" choices="" ;;
	"group create --filter") wants="RSQL" choices="" ;;
	"group edit --description") wants="TEXT" choices="" ;;
	"group edit --filter") wants="RSQL" choices="" ;;
	"group members --filter") wants="RSQL" choices="" ;;
	"group members --sort") wants="FIELD" choices="" ;;
	"group members --limit") wants="N" choices="" ;;
	"group change --add") wants="DEVICE" choices="" ;;
	"group change --remove") wants="DEVICE" choices="" ;;
	"model list --sort") wants="FIELD" choices="" ;;
	"model list --limit") wants="N" choices="" ;;
	"model create --kind") wants="KIND" choices="model firmware" ;;
	"model create --description") wants="TEXT" choices="" ;;
	"model edit --description") wants="TEXT" choices="" ;;
	"model inspect --declared") wants="FORMAT" choices="" ;;
	"version list --sort") wants="FIELD" choices="" ;;
	"version list --limit") wants="N" choices="" ;;
	"version create --notes") wants="TEXT" choices="" ;;
	"version report --release") wants="RELEASE" choices="" ;;
	"artifact list --limit") wants="N" choices="" ;;
	"artifact upload --hardware") wants="CLASS" choices="" ;;
	"artifact upload --variant") wants="NAME" choices="" ;;
	"artifact upload --declared") wants="JSON" choices="" ;;
	"artifact upload --name") wants="FILE_NAME" choices="" ;;
	"artifact upload --attempts") wants="N" choices="" ;;
	"artifact download --attempts") wants="N" choices="" ;;
	"release list --sort") wants="FIELD" choices="" ;;
	"release list --limit") wants="N" choices="" ;;
	"release create --component") wants="MODEL=VERSION" choices="" ;;
	"release create --description") wants="TEXT" choices="" ;;
	"release create --with-config") wants="JSON" choices="" ;;
	"release create --objective") wants="JSON" choices="" ;;
	"release check --filter") wants="RSQL" choices="" ;;
	"release check --group") wants="GROUP" choices="" ;;
	"release manifest --output") wants="FILE" choices="" ;;
	"release manifest --bytes") wants="FILE" choices="" ;;
	"release verify --key") wants="FILE" choices="" ;;
	"release verify --artifact") wants="FILE" choices="" ;;
	"release verify --least-counter") wants="N" choices="" ;;
	"rollout list --status") wants="STATUS" choices="" ;;
	"rollout list --limit") wants="N" choices="" ;;
	"rollout create --name") wants="TEXT" choices="" ;;
	"rollout create --release") wants="RELEASE" choices="" ;;
	"rollout create --filter") wants="RSQL" choices="" ;;
	"rollout create --group") wants="GROUP" choices="" ;;
	"rollout create --stage") wants="[NAME=]SIZE" choices="" ;;
	"rollout create --shadow") wants="SIZE" choices="" ;;
	"rollout create --gate") wants="METRIC[:KEY=VALUE,...]" choices="" ;;
	"rollout create --soak") wants="DURATION" choices="" ;;
	"rollout create --install-timeout") wants="DURATION" choices="" ;;
	"rollout create --retries") wants="N" choices="" ;;
	"rollout create --rate") wants="N" choices="" ;;
	"rollout create --window") wants="DAYS@HH:MM+DURATION" choices="" ;;
	"rollout create --success") wants="PERCENT" choices="" ;;
	"rollout create --error") wants="PERCENT" choices="" ;;
	"rollout create --on-error") wants="WHAT" choices="revert pause" ;;
	"rollout create --alpha") wants="P" choices="" ;;
	"rollout create --beta") wants="P" choices="" ;;
	"rollout create --reports-planned") wants="N" choices="" ;;
	"rollout create --max-bake") wants="DURATION" choices="" ;;
	"rollout create --on-inconclusive") wants="WHAT" choices="hold promote revert" ;;
	"rollout create --hard-stop") wants="N" choices="" ;;
	"rollout create --control") wants="WHAT" choices="cohort self" ;;
	"rollout create --stratum") wants="FIELD" choices="" ;;
	"rollout create --device") wants="DEVICE" choices="" ;;
	"rollout deployments --state") wants="STATE" choices="" ;;
	"rollout deployments --stage") wants="N" choices="" ;;
	"rollout deployments --limit") wants="N" choices="" ;;
	"rollout blocks --stage") wants="N" choices="" ;;
	"rollout blocks --limit") wants="N" choices="" ;;
	"rollout events --limit") wants="N" choices="" ;;
	"profile list --hardware") wants="CLASS" choices="" ;;
	"profile list --model") wants="MODEL" choices="" ;;
	"profile list --model-version") wants="VERSION" choices="" ;;
	"profile list --variant") wants="NAME" choices="" ;;
	"profile list --source") wants="SOURCE" choices="learned published" ;;
	"profile list --limit") wants="N" choices="" ;;
	"profile import --origin") wants="NAME" choices="" ;;
	"profile import --hardware") wants="THEIRS:OURS,..." choices="" ;;
	"profile import --model") wants="THEIRS:OURS,..." choices="" ;;
	"profile import --variant") wants="THEIRS:OURS,..." choices="" ;;
	"profile import --model-version") wants="VERSION" choices="" ;;
	"offload set --endpoint") wants="URL" choices="" ;;
	"offload set --target") wants="SHARE" choices="" ;;
	"offload set --margin") wants="M" choices="" ;;
	"offload set --audit") wants="SHARE" choices="" ;;
	"offload set --link") wants="LINK" choices="bad metered good" ;;
	"offload set --rssi") wants="DBM" choices="" ;;
	"offload set --rate") wants="KBPS" choices="" ;;
	"offload set --battery") wants="PERCENT" choices="" ;;
	"offload set --budget") wants="N" choices="" ;;
	"offload set --per") wants="UNIT" choices="per_hour per_day bytes_per_hour bytes_per_day" ;;
	"offload set --fit-every") wants="DURATION" choices="" ;;
	"offload set --rate-max") wants="SHARE" choices="" ;;
	"offload set --agreement-min") wants="SHARE" choices="" ;;
	"offload set --agreement-max") wants="SHARE" choices="" ;;
	"offload set --cost-max") wants="COST" choices="" ;;
	"telemetry query --metric") wants="METRIC" choices="" ;;
	"telemetry query --device") wants="DEVICE" choices="" ;;
	"telemetry query --filter") wants="RSQL" choices="" ;;
	"telemetry query --model") wants="MODEL" choices="" ;;
	"telemetry query --model-version") wants="VERSION" choices="" ;;
	"telemetry query --from") wants="TIME" choices="" ;;
	"telemetry query --to") wants="TIME" choices="" ;;
	"telemetry query --step") wants="DURATION" choices="" ;;
	"telemetry query --aggregate") wants="LIST" choices="" ;;
	"telemetry query --by") wants="WHAT" choices="version" ;;
	"telemetry query --limit") wants="N" choices="" ;;
	"alert list --status") wants="STATUS" choices="pending firing resolved" ;;
	"alert list --severity") wants="SEVERITY" choices="info warning critical" ;;
	"alert list --kind") wants="KIND" choices="" ;;
	"alert list --resource") wants="RESOURCE" choices="" ;;
	"alert list --cohort") wants="COHORT" choices="" ;;
	"alert list --metric") wants="METRIC" choices="" ;;
	"alert list --silenced") wants="YES" choices="true false" ;;
	"alert list --inhibited") wants="YES" choices="true false" ;;
	"alert list --limit") wants="N" choices="" ;;
	"alert silence --for") wants="DURATION" choices="" ;;
	"alert silence --until") wants="TIME" choices="" ;;
	"alert silence --from") wants="TIME" choices="" ;;
	"alert silence --comment") wants="TEXT" choices="" ;;
	"alert silences --active") wants="YES" choices="true false" ;;
	"alert silences --limit") wants="N" choices="" ;;
	"rule list --limit") wants="N" choices="" ;;
	"rule create --kind") wants="KIND" choices="threshold rate absence anomaly signature health gate" ;;
	"rule create --subject") wants="GLOB" choices="" ;;
	"rule create --clear") wants="X" choices="" ;;
	"rule create --keep-firing-for") wants="DURATION" choices="" ;;
	"rule create --stale") wants="DURATION" choices="" ;;
	"rule create --samples-over") wants="K" choices="" ;;
	"rule create --samples-of") wants="N" choices="" ;;
	"rule create --summary") wants="TEXT" choices="" ;;
	"rule create --description") wants="TEXT" choices="" ;;
	"rule create --label") wants="NAME=VALUE" choices="" ;;
	"rule create --annotation") wants="NAME=VALUE" choices="" ;;
	"rule create --metric") wants="METRIC" choices="" ;;
	"rule create --operator") wants="OP" choices="gt lt" ;;
	"rule create --threshold") wants="X" choices="" ;;
	"rule create --for") wants="DURATION" choices="" ;;
	"rule create --filter") wants="RSQL" choices="" ;;
	"rule create --severity") wants="SEVERITY" choices="info warning critical" ;;
	"rule edit --name") wants="TEXT" choices="" ;;
	"rule edit --kind") wants="KIND" choices="threshold rate absence anomaly signature health gate" ;;
	"rule edit --subject") wants="GLOB" choices="" ;;
	"rule edit --clear") wants="X" choices="" ;;
	"rule edit --keep-firing-for") wants="DURATION" choices="" ;;
	"rule edit --stale") wants="DURATION" choices="" ;;
	"rule edit --samples-over") wants="K" choices="" ;;
	"rule edit --samples-of") wants="N" choices="" ;;
	"rule edit --summary") wants="TEXT" choices="" ;;
	"rule edit --description") wants="TEXT" choices="" ;;
	"rule edit --label") wants="NAME=VALUE" choices="" ;;
	"rule edit --annotation") wants="NAME=VALUE" choices="" ;;
	"rule edit --metric") wants="METRIC" choices="" ;;
	"rule edit --operator") wants="OP" choices="gt lt" ;;
	"rule edit --threshold") wants="X" choices="" ;;
	"rule edit --for") wants="DURATION" choices="" ;;
	"rule edit --filter") wants="RSQL" choices="" ;;
	"rule edit --severity") wants="SEVERITY" choices="info warning critical" ;;
	"rule test --from") wants="TIME" choices="" ;;
	"rule test --to") wants="TIME" choices="" ;;
	"receiver list --limit") wants="N" choices="" ;;
	"receiver create --type") wants="TYPE" choices="webhook alertmanager email" ;;
	"receiver create --url") wants="URL" choices="" ;;
	"receiver create --secret") wants="TEXT" choices="" ;;
	"receiver create --matchers") wants="JSON" choices="" ;;
	"receiver create --ca-file") wants="FILE" choices="" ;;
	"receiver create --user") wants="NAME" choices="" ;;
	"receiver create --sender") wants="ADDRESS" choices="" ;;
	"receiver create --recipient") wants="ADDRESS" choices="" ;;
	"receiver create --title") wants="TEMPLATE" choices="" ;;
	"receiver create --text") wants="TEMPLATE" choices="" ;;
	"receiver create --body") wants="TEMPLATE" choices="" ;;
	"receiver create --wait") wants="DURATION" choices="" ;;
	"receiver create --interval") wants="DURATION" choices="" ;;
	"receiver create --repeat") wants="DURATION" choices="" ;;
	"receiver create --per-minute") wants="N" choices="" ;;
	"receiver create --timeout") wants="DURATION" choices="" ;;
	"receiver edit --name") wants="TEXT" choices="" ;;
	"receiver edit --enabled") wants="BOOL" choices="" ;;
	"receiver edit --url") wants="URL" choices="" ;;
	"receiver edit --secret") wants="TEXT" choices="" ;;
	"receiver edit --matchers") wants="JSON" choices="" ;;
	"receiver edit --ca-file") wants="FILE" choices="" ;;
	"receiver edit --user") wants="NAME" choices="" ;;
	"receiver edit --sender") wants="ADDRESS" choices="" ;;
	"receiver edit --recipient") wants="ADDRESS" choices="" ;;
	"receiver edit --title") wants="TEMPLATE" choices="" ;;
	"receiver edit --text") wants="TEMPLATE" choices="" ;;
	"receiver edit --body") wants="TEMPLATE" choices="" ;;
	"receiver edit --wait") wants="DURATION" choices="" ;;
	"receiver edit --interval") wants="DURATION" choices="" ;;
	"receiver edit --repeat") wants="DURATION" choices="" ;;
	"receiver edit --per-minute") wants="N" choices="" ;;
	"receiver edit --timeout") wants="DURATION" choices="" ;;
	"receiver deliveries --receiver") wants="RECEIVER" choices="" ;;
	"receiver deliveries --status") wants="STATUS" choices="pending sent dead" ;;
	"receiver deliveries --limit") wants="N" choices="" ;;
	"upstream list --limit") wants="N" choices="" ;;
	"upstream add --model") wants="MODEL" choices="" ;;
	"upstream add --kind") wants="KIND" choices="index directory s3 hawkbit aviary" ;;
	"upstream add --from") wants="URL" choices="" ;;
	"upstream add --prefix") wants="TEXT" choices="" ;;
	"upstream add --public-key") wants="KEY" choices="" ;;
	"upstream add --auth") wants="HOW" choices="none basic bearer header" ;;
	"upstream add --user") wants="NAME" choices="" ;;
	"upstream add --secret") wants="TEXT" choices="" ;;
	"upstream add --ca-file") wants="FILE" choices="" ;;
	"upstream add --interval") wants="DURATION" choices="" ;;
	"upstream add --alert-after") wants="N" choices="" ;;
	"upstream add --action") wants="WHAT" choices="none release rollout" ;;
	"upstream add --margin") wants="X" choices="" ;;
	"upstream add --quality") wants="HOW" choices="compare ignore" ;;
	"upstream add --rollout") wants="JSON" choices="" ;;
	"upstream add --policy") wants="JSON" choices="" ;;
	"upstream edit --enabled") wants="BOOL" choices="" ;;
	"upstream edit --from") wants="URL" choices="" ;;
	"upstream edit --prefix") wants="TEXT" choices="" ;;
	"upstream edit --public-key") wants="KEY" choices="" ;;
	"upstream edit --auth") wants="HOW" choices="none basic bearer header" ;;
	"upstream edit --user") wants="NAME" choices="" ;;
	"upstream edit --secret") wants="TEXT" choices="" ;;
	"upstream edit --ca-file") wants="FILE" choices="" ;;
	"upstream edit --interval") wants="DURATION" choices="" ;;
	"upstream edit --alert-after") wants="N" choices="" ;;
	"upstream edit --action") wants="WHAT" choices="none release rollout" ;;
	"upstream edit --margin") wants="X" choices="" ;;
	"upstream edit --quality") wants="HOW" choices="compare ignore" ;;
	"upstream edit --rollout") wants="JSON" choices="" ;;
	"upstream edit --policy") wants="JSON" choices="" ;;
	"upstream versions --limit") wants="N" choices="" ;;
	"check create --kind") wants="KIND" choices="limit model_hash inference storage memory connectivity custom" ;;
	"check create --hardware") wants="CLASS" choices="" ;;
	"check create --model") wants="MODEL" choices="" ;;
	"check create --filter") wants="RSQL" choices="" ;;
	"check create --metric") wants="METRIC" choices="" ;;
	"check create --operator") wants="OP" choices="gt lt" ;;
	"check create --threshold") wants="X" choices="" ;;
	"check create --window") wants="DURATION" choices="" ;;
	"check create --every") wants="DURATION" choices="" ;;
	"check create --answer-within") wants="DURATION" choices="" ;;
	"check create --contexts") wants="JSON" choices="" ;;
	"check create --severity") wants="SEVERITY" choices="info warning critical" ;;
	"check edit --operator") wants="OP" choices="gt lt" ;;
	"check edit --threshold") wants="X" choices="" ;;
	"check edit --window") wants="DURATION" choices="" ;;
	"check edit --every") wants="DURATION" choices="" ;;
	"check edit --answer-within") wants="DURATION" choices="" ;;
	"check edit --contexts") wants="JSON" choices="" ;;
	"check edit --severity") wants="SEVERITY" choices="info warning critical" ;;
	"check run --device") wants="DEVICE" choices="" ;;
	"check run --group") wants="GROUP" choices="" ;;
	"check run --filter") wants="RSQL" choices="" ;;
	"check matrix --check") wants="NAME" choices="" ;;
	"check matrix --hardware") wants="CLASS" choices="" ;;
	"check matrix --cell") wants="CELL" choices="" ;;
	"command list --limit") wants="N" choices="" ;;
	"command send --device") wants="DEVICE" choices="" ;;
	"command send --group") wants="GROUP" choices="" ;;
	"command send --filter") wants="RSQL" choices="" ;;
	"command send --params") wants="JSON" choices="" ;;
	"command send --timeout-ms") wants="DURATION" choices="" ;;
	"command send --rate") wants="N" choices="" ;;
	"command devices --state") wants="STATE" choices="queued sent answered failed expired" ;;
	"command devices --limit") wants="N" choices="" ;;
	"token list --limit") wants="N" choices="" ;;
	"token create --kind") wants="KIND" choices="api enrolment" ;;
	"token create --role") wants="ROLE" choices="viewer operator admin enrol" ;;
	"token create --expires") wants="TIME" choices="" ;;
	"token create --uses") wants="N" choices="" ;;
	"audit  --resource") wants="RESOURCE" choices="" ;;
	"audit  --who") wants="NAME" choices="" ;;
	"audit  --action") wants="ACTION" choices="" ;;
	"audit  --from") wants="TIME" choices="" ;;
	"audit  --to") wants="TIME" choices="" ;;
	"audit  --limit") wants="N" choices="" ;;
	"events  --kind") wants="KIND" choices="" ;;
	"events  --resource") wants="RESOURCE" choices="" ;;
	"events  --after") wants="ID" choices="" ;;
	"events  --count") wants="N" choices="" ;;
	"import hawkbit --user") wants="NAME" choices="" ;;
	"import hawkbit --password-file") wants="FILE" choices="" ;;
	"import hawkbit --what") wants="LIST" choices="" ;;
	"import hawkbit --state") wants="FILE" choices="" ;;
	"import hawkbit --page") wants="N" choices="" ;;
	"import hawkbit --attempts") wants="N" choices="" ;;
	"import hawkbit --hardware") wants="CLASS" choices="" ;;
	"judge  --kind") wants="[METRIC=]KIND" choices="" ;;
	"judge  --worse") wants="[METRIC=]WAY" choices="" ;;
	"judge  --margin") wants="[METRIC=]X" choices="" ;;
	"judge  --ni-margin") wants="[METRIC=]X" choices="" ;;
	"judge  --weight") wants="[METRIC=]X" choices="" ;;
	"judge  --scale") wants="[METRIC=]X" choices="" ;;
	"judge  --alpha") wants="P" choices="" ;;
	"judge  --beta") wants="P" choices="" ;;
	"judge  --hold-p") wants="P" choices="" ;;
	"judge  --alpha-look") wants="P" choices="" ;;
	"detect  --age-after") wants="N" choices="" ;;
	esac
	case $previous in
	--url) wants="URL" choices="" ;;
	--token-file) wants="FILE" choices="" ;;
	--ca) wants="FILE" choices="" ;;
	--config) wants="FILE" choices="" ;;
	--timeout) wants="DURATION" choices="" ;;
	--idempotency-key) wants="TEXT" choices="" ;;
	--colour) wants="WHEN" choices="auto always never" ;;
	esac
}

_aviaryctl_takes_value() {
	local group=$1 command=$2 previous=$3 wants="" options="" args="" choices=""
	_aviaryctl_of_command
	[ -n "$wants" ]
}

_aviaryctl() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
	local group="" command="" commands="" options="" args="" wants="" choices="" word skip=0 at=0 i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((skip)); then skip=0; continue; fi
		case $word in
		-*) _aviaryctl_takes_value "$group" "$command" "$word" && skip=1 ;;
		*)
			if [ -z "$group" ]; then group=$word; _aviaryctl_commands
			elif [ -z "$command" ] && ((at == 0)) && [[ " $commands " == *" $word "* ]]; then command=$word
			else at=$((at + 1)); fi ;;
		esac
	done
	_aviaryctl_of_command
	if ((skip)) || [ -n "$wants" ]; then
		case $wants in
		FILE|JSON|'') mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
		*) mapfile -t COMPREPLY < <(compgen -W "${choices:-$(_aviaryctl_values "$wants")}" -- "$current") ;;
		esac
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options $(_aviaryctl_global)" -- "$current")
	elif [ -z "$group" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_aviaryctl_groups)" -- "$current")
	elif [ -z "$command" ] && [ -n "$commands" ] && ((at == 0)); then
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
	else
		local names; read -ra names <<< "$args"
		word=${names[at]:-${names[${#names[@]}-1]:-}}
		word=${word#[}; word=${word%]}
		if [ "$word" = FILE ]; then mapfile -t COMPREPLY < <(compgen -f -- "$current")
		else mapfile -t COMPREPLY < <(compgen -W "$(_aviaryctl_values "$word")" -- "$current"); fi
	fi
}

complete -F _aviaryctl aviaryctl
