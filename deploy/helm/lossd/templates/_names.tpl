{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "lossd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lossd.fullname" -}}
{{- $name := include "lossd.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lossd.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "lossd.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "lossd.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lossd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lossd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lossd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "lossd.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* lossd's file of settings. YAML's numbers arrive as floating point, which
       would be printed with an exponent. */ -}}
{{- define "lossd.config" -}}
listen = "0.0.0.0:{{ int64 .Values.ports.grpc }}"
admin-listen = "0.0.0.0:{{ int64 .Values.ports.admin }}"
insecure = {{ .Values.insecure }}
drain-delay = "{{ int64 .Values.drain.delaySeconds }}s"
drain-timeout = "{{ int64 .Values.drain.timeoutSeconds }}s"
{{- range $name, $value := .Values.settings }}
{{- if or (kindIs "float64" $value) (kindIs "int64" $value) }}
{{ $name }} = {{ int64 $value }}
{{- else if kindIs "bool" $value }}
{{ $name }} = {{ $value }}
{{- else }}
{{ $name }} = {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
