{{- /* Shorter than names may be: the pods' numbers, or "-migrate", follow them. */}}
{{- define "posthouse.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "posthouse.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "posthouse.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "posthouse.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "posthouse.selector" -}}
app.kubernetes.io/name: {{ include "posthouse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "posthouse.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "posthouse.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "posthouse.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "posthouse.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "posthouse.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Refuse what could not work; an empty text otherwise. */}}
{{- define "posthouse.check" -}}
{{- if not .Values.existingSecret }}
{{- fail "existingSecret is needed: a Secret with POSTHOUSE_SECRET and the database's URL" }}
{{- end }}
{{- if not .Values.secretKeys.secret }}
{{- fail "secretKeys.secret is needed: without it a pod would listen to nobody else" }}
{{- end }}
{{- if and (not .Values.secretKeys.database) (or .Values.autoscaling.enabled (ne (int .Values.replicaCount) 1)) }}
{{- fail "SQLite is for one pod: name secretKeys.database, or set replicaCount to 1 and autoscaling off" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.replicaCount)) }}
{{- fail "autoscaling.maxReplicas is less than replicaCount" }}
{{- end }}
{{- end }}

{{- /* Of every container: nobody's rights, and nothing to write but its volumes. */}}
{{- define "posthouse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "posthouse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Secrets are files, which commands in the container find by the same variables. */}}
{{- define "posthouse.secretEnv" -}}
- name: POSTHOUSE_SECRET
  value: file:/run/secrets/posthouse/secret
{{- if .Values.secretKeys.database }}
- name: POSTHOUSE_DATABASE
  value: file:/run/secrets/posthouse/database
{{- end }}
{{- end }}

{{- define "posthouse.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .Values.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .Values.secretKeys.secret | quote }}
        path: secret
      {{- with .Values.secretKeys.database }}
      - key: {{ . | quote }}
        path: database
      {{- end }}
      {{- with .Values.secretKeys.coordination }}
      - key: {{ . | quote }}
        path: coordination
      {{- end }}
{{- end }}
