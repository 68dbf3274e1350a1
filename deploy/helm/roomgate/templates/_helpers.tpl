{{- define "roomgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "roomgate.fullname" -}}
{{- $name := include "roomgate.name" . -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* The labels of all pods of the gateway, including helm test's. The network policy selects them. */ -}}
{{- define "roomgate.instance" -}}
app.kubernetes.io/name: {{ include "roomgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "roomgate.selector" -}}
{{ include "roomgate.instance" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "roomgate.labels" -}}
{{ include "roomgate.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "roomgate.image" -}}
{{- with .Values.image -}}
{{ required "image.repository is required: where the release's images are" .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "roomgate.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "roomgate.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "roomgate.secret" -}}
{{ .Values.secret.name | default (include "roomgate.fullname" .) }}
{{- end }}

{{- /* A YAML map from each setting that is read from a file to its key in the Secret. */ -}}
{{- define "roomgate.secretSettings" -}}
REDIS_URL: redis_url
{{- range $n, $license := .Values.interwater.licenses }}
INTERWATER_LICENSE_{{ $n }}_ACCESS_KEY: {{ $license.name }}_access_key
INTERWATER_LICENSE_{{ $n }}_SECRET_KEY: {{ $license.name }}_secret_key
{{- end }}
{{- if eq .Values.glory.mode "local" }}
GLORY_JWT_SECRETS: glory_jwt_secrets
{{- end }}
{{- with .Values.secret.settings }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "roomgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532 # the image's
runAsGroup: 65532
fsGroup: 65532 # so that it may read the Secret's files
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "roomgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A container with the gateway's settings: image, environment, mounts. */ -}}
{{- define "roomgate.container" -}}
image: {{ include "roomgate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - configMapRef: {name: {{ include "roomgate.fullname" . }}}
{{- with .Values.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "roomgate.containerSecurity" . | nindent 2 }}
volumeMounts:
  # The whole folder, because files mounted by subPath never change.
  - {name: secrets, mountPath: /run/secrets/roomgate, readOnly: true}
  {{- if .Values.ca.configMap }}
  - {name: ca, mountPath: /run/ca, readOnly: true}
  {{- end }}
  {{- if .Values.tls.secretName }}
  - {name: tls, mountPath: /run/tls, readOnly: true}
  {{- end }}
  {{- if .Values.redis.tlsSecretName }}
  - {name: redis, mountPath: /run/redis, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "roomgate.volumes" -}}
- name: secrets
  secret:
    secretName: {{ include "roomgate.secret" . }}
    defaultMode: 0440
    # Named one by one, so that a pod without one of them doesn't start, and its events say which is missing.
    items:
      {{- range $key := include "roomgate.secretSettings" . | fromYaml | values | uniq | sortAlpha }}
      - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
{{- if .Values.ca.configMap }}
- name: ca
  configMap: {name: {{ .Values.ca.configMap }}, items: [{key: {{ .Values.ca.key }}, path: ca.crt}]}
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- if .Values.redis.tlsSecretName }}
- name: redis
  secret: {secretName: {{ .Values.redis.tlsSecretName }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "roomgate.pod" -}}
serviceAccountName: {{ include "roomgate.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false # no variables such as REDIS_PORT
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "roomgate.podSecurity" . | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "roomgate.standIns" -}}
app.kubernetes.io/name: {{ include "roomgate.name" . }}-sandbox
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
