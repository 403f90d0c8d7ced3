# The administrator's verbs, over the public API.

# api KEY VERB PATH [JSON]: the reply's body; dies with the problem's sentence otherwise.
api() {
	local key=$1 verb=$2 path=$3 body=${4:-} reply status
	reply=$(curl -sS -X "$verb" -w '\n%{http_code}' -H @<(printf 'Authorization: Bearer %s\n' "$key") \
		${body:+-H 'Content-Type: application/json' --data-binary @-} "$BASE_URL$path" <<<"$body") ||
		die "the gateway at $BASE_URL does not answer; is the suite up?"
	status=${reply##*$'\n'}
	reply=${reply%$'\n'*}
	case $status in
	2*) printf '%s' "$reply" ;;
	*) die "$verb $path was refused ($status): $(jq -r '[.title, .detail, .field] | map(select(. != null)) | join("; ")' <<<"$reply" 2>/dev/null || printf %s "$reply")" ;;
	esac
}

# The eight fields that a project's owner needs, from a project id, its management key and a password. Makes keys, and an administrator
# when an earlier run did not come so far.
project_credentials() {
	local project=$1 key=$2 admin_password=$3 api_key client admin_email found
	api_key=$(api "$key" POST /v1/keys '{"kind": "api", "name": "default", "scopes": ["users:read", "sessions:*", "tokens:introspect", "claims:read"]}')
	client=$(api "$key" POST /v1/keys '{"kind": "client", "name": "default", "scopes": ["users:read", "sessions:*", "tokens:introspect", "claims:*"]}')
	admin_email=admin@${project#prj_}.localhost
	found=$(api "$key" POST /v1/users/lookup "$(jq -n --arg e "$admin_email" '{emails: [$e]}')" | jq '.data | length')
	[ "$found" != 0 ] || api "$key" POST /v1/users "$(PASSWORD=$admin_password jq -n --arg e "$admin_email" '{email: $e, password: env.PASSWORD, name: "Administrator", email_verified: true}')" >/dev/null
	# Not by --arg: a command line is there for every user of the machine to see, an environment is not.
	KEY=$key API_KEY=$api_key CLIENT=$client PASSWORD=$admin_password jq -n --arg base_url "$BASE_URL" --arg project_id "$project" --arg admin_email "$admin_email" \
		'(env.API_KEY | fromjson) as $api | (env.CLIENT | fromjson) as $client |
		 {base_url: $base_url, project_id: $project_id, management_key: env.KEY, api_key: $api.secret,
		  client_id: $client.id, client_secret: $client.secret, admin_email: $admin_email, admin_password: env.PASSWORD}'
}

make_credentials() {
	local credentials
	[ -s "$DATA/run/bootstrap.json" ] || die "$DATA/credentials.json and $DATA/run/bootstrap.json are both gone, so the first management key is not known any more; restore one of them from a backup."
	# Kept until the credentials are written: a run that was cut off after it made the administrator is repeated with the same password.
	[ -s "$DATA/run/admin.password" ] || random_hex 12 | write_secret "$DATA/run/admin.password"
	credentials=$(project_credentials "$(jq -r .project_id "$DATA/run/bootstrap.json")" "$(jq -r .management_key "$DATA/run/bootstrap.json")" \
		"$(cat "$DATA/run/admin.password")") || exit 1
	write_secret "$DATA/credentials.json" <<<"$credentials"
	rm -f "$DATA/run/bootstrap.json" "$DATA/run/admin.password"
}

# Reads the credentials of this data directory (or those given with --project-credentials).
load_credentials() {
	local file=${CREDENTIALS:-$DATA/credentials.json}
	[ -r "$file" ] || die "$file cannot be read; is the suite set up in $DATA?"
	settings
	MANAGEMENT_KEY=$(jq -er .management_key "$file") || die "$file holds no management_key."
}

command_project() {
	parse_options 2 "--json --project-credentials" "$@"
	[ "${ARGS[0]:-}" = create ] && [ -n "${ARGS[1]:-}" ] || die "usage: ./denizen project create NAME [--json]"
	load_credentials
	local reply credentials
	reply=$(api "$MANAGEMENT_KEY" POST /v1/projects "$(jq -n --arg n "${ARGS[1]}" '{name: $n}')") || exit 1
	credentials=$(project_credentials "$(jq -r .id <<<"$reply")" "$(jq -r .management_key.secret <<<"$reply")" "$(random_hex 12)") || exit 1
	if [ $JSON = yes ]; then
		printf '%s\n' "$credentials"
	else
		jq -r 'to_entries[] | "\(.key)\t\(.value)"' <<<"$credentials"
		say "These secrets are shown only now."
	fi
}

command_key() {
	parse_options 1 "--kind --name --scopes --json --project-credentials" "$@"
	[ "${ARGS[0]:-}" = create ] || die "usage: ./denizen key create [--kind api|management|client] [--name NAME] [--scopes a,b]"
	load_credentials
	local reply
	reply=$(api "$MANAGEMENT_KEY" POST /v1/keys "$(jq -n --arg k "$KIND" --arg n "${NAME:-$KIND}" --arg s "$SCOPES" \
		'{kind: $k, name: $n} + (if $s == "" then {} else {scopes: ($s | split(","))} end)')") || exit 1
	if [ $JSON = yes ]; then printf '%s\n' "$reply"; else jq -r '"id\t\(.id)\nsecret\t\(.secret)"' <<<"$reply"; fi
}

command_subscriber() {
	parse_options 2 "--project" "$@"
	[ "${ARGS[0]:-}" = create ] && [ -n "${ARGS[1]:-}" ] || die "usage: ./denizen subscriber create NAME [--project prj_...]"
	[ -w "$DATA/bus/secret" ] || die "$DATA/bus/secret is not there or not writable by $(id -un): the user who runs the suite makes its keys."
	"$BIN/deploy/denizen-keys" "$DATA/bus" subscriber "${ARGS[1]}" ${PROJECT:+"$PROJECT"} || exit 1
	say "secret key: $DATA/bus/secret/${ARGS[1]}.key   public key: $DATA/bus/public/${ARGS[1]}.pub   server: $DATA/bus/public/audit.pub"
}

# Sends the file as it is; rows that exist are skipped, so an interrupted import is resumed by running it again.
command_import() {
	parse_options 1 "--project-credentials" "$@"
	local file=${ARGS[0]:-} status failed=0
	[ -r "$file" ] || die "the file ${file:-(none)} cannot be read."
	# Its length is sent first, so it has to be there as a whole.
	[ -f "$(readlink -f "$file")" ] || die "$file is no file with a length; write what comes from a pipe to a file first."
	load_credentials
	results=$(mktemp)
	trap 'rm -f "$results"' EXIT
	status=$(curl -sS -N --globoff -X POST -T "$file" -o "$results" -w '%{http_code}' -H 'Expect:' -H 'Content-Type: application/x-ndjson' \
		-H @<(printf 'Authorization: Bearer %s\n' "$MANAGEMENT_KEY") "$BASE_URL/v1/users/import") ||
		die "the connection broke; run the same command again, rows that were imported are skipped."
	[ "$status" = 200 ] || die "the import was refused ($status): $(jq -r '[.title, .detail, .field] | map(select(. != null)) | join("; ")' "$results")."
	# The first refusals are enough to see what is wrong with a file.
	jq -c 'select(.status == "error" or .title != null)' "$results" | sed -n 1,20p >&2
	jq -rn '[inputs.status] | group_by(.) | map("\(.[0]): \(length)") | join("  ") | if . == "" then "no rows" else . end' "$results"
	grep -q '"status":"error"' "$results" && failed=1
	return $failed
}
