package config

import (
	"slices"
	"testing"
)

func TestMisspeltSettingsAreFound(t *testing.T) {
	for name, meant := range map[string]string{
		"INTERWATER_ACESS_KEY":                "INTERWATER_ACCESS_KEY",
		"INTERWATER_ACCESS_KYE":               "INTERWATER_ACCESS_KEY",
		"GLORY_JWT_SECRET":                    "GLORY_JWT_SECRETS",
		"GLORY_JWT_SECRET_FILE":               "GLORY_JWT_SECRETS_FILE",
		"REDIS_URI":                           "REDIS_URL",
		"LOGLEVEL":                            "LOG_LEVEL",
		"INTERWATER_LICENCE_12_NAME":          "INTERWATER_LICENSE_12_NAME",
		"INTERWATER_LICENSE_0_SECRETKEY":      "INTERWATER_LICENSE_0_SECRET_KEY",
		"INTERWATER_LICENSE_3_ACCES_KEY_FILE": "INTERWATER_LICENSE_3_ACCESS_KEY_FILE",
		"GLORY_BASE_ADDRESS":                  "", // begins like ours, but resembles no setting
	} {
		if got := Unknowns([]string{"PATH=/bin", name + "=MARKER"}); !slices.Equal(got, []Unknown{{name, meant}}) {
			t.Errorf("%s: %v, want %s", name, got, meant)
		}
	}
}

func TestOtherProgramsVariablesAreLeftAlone(t *testing.T) {
	var own []string
	for _, s := range Settings() {
		own = append(own, oneNumberFor(s.Name)+"=x", oneNumberFor(s.Name)+"_FILE=x")
	}
	for _, name := range []string{
		"PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "OTEL_EXPORTER_OTLP_ENDPOINT", "REDIS_HOST", "REDIS_PASSWORD",
		"HTTP_PROXY", "LOGNAME", "GOMAXPROCS", "PORT", "GLORY_SERVICE_HOST", "GLORY_SERVICE_PORT_HTTP", "GLORY_PORT",
		"INTERWATER_PORT_443_TCP_ADDR", "REDIS_PORT", "REDIS_PORT_6379_TCP",
	} {
		own = append(own, name+"=x")
	}
	if got := Unknowns(append(own, "GLORY_JWT_SECRET=")); len(got) > 0 { // an empty variable counts as absent
		t.Errorf("taken for misspelt settings: %v", got)
	}
}

// oneNumberFor returns a name of the table with 0 in place of <n>.
func oneNumberFor(name string) string {
	const number = "<n>"
	if i := len(licensePrefix); len(name) > i+len(number) && name[i:i+len(number)] == number {
		return name[:i] + "0" + name[i+len(number):]
	}
	return name
}
