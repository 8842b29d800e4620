{{- define "entrepot.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "entrepot.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What has immutable or restarting labels (selectors, pods) bears these alone: they do not change with the chart's version. */}}
{{- define "entrepot.component" -}}
{{ include "entrepot.selector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "entrepot.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entrepot.pullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "entrepot.headless" -}}
{{ include "entrepot.fullname" . }}-replicas
{{- end -}}

{{- define "entrepot.tlsSecret" -}}
{{ default (printf "%s-tls" (include "entrepot.fullname" .)) .Values.tls.secretName }}
{{- end -}}

{{/* What a container may: nothing. */}}
{{- define "entrepot.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* On which nodes pods may be, but for the nodes' own */}}
{{- define "entrepot.placement" -}}
{{- with .Values.nodeSelector -}}
nodeSelector: {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .Values.tolerations -}}
tolerations: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Of what asks the mirror and does nothing itself */}}
{{- define "entrepot.smallResources" -}}
requests: {cpu: 10m, memory: 32Mi}
limits: {memory: 256Mi}
{{- end -}}

{{/* Where the nodes' client has its files */}}
{{- define "entrepot.nodesDirectory" -}}
{{- default (ternary "/etc/containers" "/etc/containerd/certs.d" (eq .Values.nodes.client "crio")) .Values.nodes.directory -}}
{{- end -}}

{{/* One replica's host name: (list $ ordinal) */}}
{{- define "entrepot.replicaHost" -}}
{{- $ := index . 0 -}}
{{ include "entrepot.fullname" $ }}-{{ index . 1 }}.{{ include "entrepot.headless" $ }}.{{ $.Release.Namespace }}.svc.{{ $.Values.clusterDomain }}
{{- end -}}

{{- define "entrepot.adminListens" -}}
{{- if .Values.admin.tokenSecret.name }}yes{{ end -}}
{{- end -}}

{{/* The Secrets with accounts that are named anywhere, each once */}}
{{- define "entrepot.accountSecrets" -}}
{{- $names := list -}}
{{- if and .Values.siblings.secret (gt (int .Values.replicas) 1) }}{{ $names = append $names .Values.siblings.secret }}{{ end -}}
{{- range $registry := .Values.registries -}}
{{- if kindIs "map" $registry -}}
{{- with $registry.secret }}{{ $names = append $names . }}{{ end -}}
{{- range $registry.sources }}{{ with .secret }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | join " " -}}
{{- end -}}

{{/* A map with `secret` as one with `credentials` */}}
{{- define "entrepot.withCredentials" -}}
{{- $out := omit . "secret" -}}
{{- with .secret }}{{ $_ := set $out "credentials" (include "entrepot.accountFile" .) }}{{ end -}}
{{- toYaml $out -}}
{{- end -}}

{{/* Where the account of a Secret is */}}
{{- define "entrepot.accountFile" -}}
/etc/entrepot/accounts/{{ . }}/.dockerconfigjson
{{- end -}}

{{/* The name of its volume. A Secret's may have dots and 253 characters; that of a volume has none, and 63. */}}
{{- define "entrepot.accountVolume" -}}
account-{{ ternary . (sha256sum . | trunc 16) (regexMatch "^[a-z0-9-]{1,55}$" .) }}
{{- end -}}

{{/* The configurations of all replicas, as the data of the ConfigMap: one file a replica, named like its pod */}}
{{- define "entrepot.configs" -}}
{{- range $i := until (int .Values.replicas) }}
{{ include "entrepot.fullname" $ }}-{{ $i }}.yaml: |
  {{- include "entrepot.config" (list $ $i) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The configuration of one replica: (list $ ordinal). Its siblings are the other ones. */}}
{{- define "entrepot.config" -}}
{{- $ := index . 0 -}}
{{- $me := index . 1 -}}
{{- $siblings := list -}}
{{- range $i := until (int $.Values.replicas) -}}
{{- if ne $i $me -}}
{{- $host := include "entrepot.replicaHost" (list $ $i) -}}
{{- /* in the cluster: never by the proxy of the registry, which it would have by default */ -}}
{{- $sibling := dict "name" (printf "replica-%d" $i) "sibling" true "allow_private" true "no_proxy" "*" -}}
{{- if $.Values.http.enabled -}}
{{- $_ := set $sibling "url" (printf "http://%s:5000" $host) -}}
{{- else -}}
{{- $_ := set $sibling "url" (printf "https://%s:5443" $host) -}}
{{- $_ := set $sibling "ca_file" "/etc/entrepot/tls/ca.crt" -}}
{{- end -}}
{{- with $.Values.siblings.secret }}{{ $_ := set $sibling "credentials" (include "entrepot.accountFile" .) }}{{ end -}}
{{- $siblings = append $siblings $sibling -}}
{{- end -}}
{{- end -}}
{{- $registries := dict -}}
{{- range $name, $registry := $.Values.registries -}}
{{- if not (kindIs "map" $registry) -}}
{{- $_ := set $registries $name $registry -}}
{{- else -}}
{{- $r := include "entrepot.withCredentials" (omit $registry "sources") | fromYaml -}}
{{- $sources := list -}}
{{- range $registry.sources -}}
{{- $sources = append $sources (include "entrepot.withCredentials" . | fromYaml) -}}
{{- end -}}
{{- if and $siblings (not $sources) -}}
{{- $sources = list (merge (dict "name" "upstream") (pick $r "credentials")) -}}
{{- $r = omit $r "credentials" -}}
{{- end -}}
{{- if $sources -}}
{{- $_ := set $r "sources" (concat $siblings $sources) -}}
{{- end -}}
{{- $_ := set $registries $name $r -}}
{{- end -}}
{{- end -}}
{{- $http := list -}}{{- $https := list -}}{{- $ops := list -}}{{- $admin := list "unix:" -}}
{{- range $.Values.addresses -}}
{{- $http = append $http (printf "%s:5000" .) -}}
{{- $https = append $https (printf "%s:5443" .) -}}
{{- $ops = append $ops (printf "%s:5001" .) -}}
{{- $admin = append $admin (printf "%s:5002" .) -}}
{{- end -}}
{{- $server := dict "listen" (ternary $http list $.Values.http.enabled) "drain_timeout" (printf "%ds" (int $.Values.drainSeconds)) -}}
{{- if $.Values.tls.enabled -}}
{{- $_ := set $server "tls" (dict "listen" $https "certificate" "/etc/entrepot/tls/tls.crt" "key" "/etc/entrepot/tls/tls.key") -}}
{{- end -}}
{{- if and $.Values.ingress.enabled $.Values.ingress.tlsSecretName $.Values.ingress.hstsMaxAge -}}
{{- $_ := set $server "tls" (merge (dict "hsts" (printf "%ds" (int64 $.Values.ingress.hstsMaxAge))) (default dict $server.tls)) -}}
{{- end -}}
{{- $config := dict "version" 1 "server" $server "ops" (dict "listen" $ops) "log" (dict "format" "json") "store" (dict "path" "/var/lib/entrepot" "max_size" $.Values.store.maxSize) "registries" $registries -}}
{{- if include "entrepot.adminListens" $ -}}
{{- $_ := set $config "admin" (dict "listen" $admin "token_file" (printf "/etc/entrepot/admin/%s" $.Values.admin.tokenSecret.key)) -}}
{{- end -}}
{{- $text := toYaml (mustMergeOverwrite $config (deepCopy $.Values.config)) -}}
{{- if regexMatch "://[^/@\\s]+@" $text -}}
{{- fail "there is a URL with a password in `config` or `registries`, which would be in a ConfigMap: give HTTPS_PROXY by extraEnv, from a Secret" -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* The pod of a job: a command that asks one replica's admin API.
     (dict "root" $ "ordinal" number "command" text "args" list "volumes" list "mounts" list) */}}
{{- define "entrepot.jobPod" -}}
metadata:
  labels: {{- include "entrepot.component" (list .root "job") | nindent 4 }}
spec:
  restartPolicy: OnFailure
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "entrepot.pullSecrets" .root }}{{ . | nindent 2 }}{{ end }}
  securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  {{- with include "entrepot.placement" .root }}{{ . | trim | nindent 2 }}{{ end }}
  containers:
    - name: entrepot
      image: {{ include "entrepot.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        - {{ .command }}
        - --admin={{ include "entrepot.replicaHost" (list .root .ordinal) }}:5002
        - --token-file=/etc/entrepot/admin/{{ .root.Values.admin.tokenSecret.key }}
        {{- toYaml .args | nindent 8 }}
      securityContext: {{- include "entrepot.containerSecurity" . | nindent 8 }}
      resources: {{- include "entrepot.smallResources" . | nindent 8 }}
      volumeMounts:
        - {name: admin-token, mountPath: /etc/entrepot/admin, readOnly: true}
        {{- with .mounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: admin-token
      secret:
        secretName: {{ .root.Values.admin.tokenSecret.name }}
    {{- with .volumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end -}}
