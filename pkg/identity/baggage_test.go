package identity_test

import (
	"strings"
	"testing"

	"waymark.dev/waypoint/pkg/identity"
)

func TestParseBaggage(t *testing.T) {
	full := identity.Baggage{
		Cluster: "c1", Namespace: "bank", Workload: "teller", App: "teller-app", Version: "v1", Region: "r", Zone: "z",
	}
	const one = "k8s.cluster.name=c1,k8s.namespace.name=bank,k8s.deployment.name=teller," +
		"service.name=teller-app,service.version=v1,cloud.region=r,cloud.availability_zone=z"
	tests := []struct {
		name  string
		lines []string
		want  identity.Baggage
	}{
		{"all keys", []string{one}, full},
		{"several lines", strings.Split(one, ","), full},
		{"spaces", []string{strings.ReplaceAll(one, ",", " ,\t")}, full},
		{"nothing", nil, identity.Baggage{}},
		{"unknown, empty and broken members", []string{"x=y,,service.name=,service.version,=,k8s.pod.name=p"}, identity.Baggage{Workload: "p"}},
		{"first value stays", []string{"service.name=a,service.name=b"}, identity.Baggage{App: "a"}},
		{"no percent-decoding", []string{"service.name=a%20b"}, identity.Baggage{App: "a%20b"}},
		{"value with equals", []string{"service.name=a=b"}, identity.Baggage{App: "a=b"}},
		{"keys are case-sensitive", []string{"Service.Name=a"}, identity.Baggage{}},
		{"65th member", []string{strings.Repeat("x=y,", 64) + "service.name=a"}, identity.Baggage{}},
		{"64th member", []string{strings.Repeat("x=y,", 63) + "service.name=a"}, identity.Baggage{App: "a"}},
		{"over 8 KiB", []string{"service.name=" + strings.Repeat("a", 8<<10)}, identity.Baggage{}},
		{"over 8 KiB in the second line", []string{"service.name=a", "service.version=" + strings.Repeat("a", 8<<10)}, identity.Baggage{App: "a"}},
	}
	for _, tt := range tests {
		if got := identity.ParseBaggage(tt.lines...); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestBaggageTrustedFor(t *testing.T) {
	b := identity.Baggage{Namespace: "bank", App: "teller"}
	tests := map[string]identity.Baggage{
		"spiffe://td/ns/bank/sa/a":  b,
		"spiffe://td/ns/other/sa/a": {},
		"spiffe://td/bank":          {},
	}
	for id, want := range tests {
		if got := b.TrustedFor(identity.RequireID(id)); got != want {
			t.Errorf("%s: got %+v, want %+v", id, got, want)
		}
	}
	if got := (identity.Baggage{App: "x"}).TrustedFor(identity.ID{}); got != (identity.Baggage{}) {
		t.Errorf("nobody: got %+v", got)
	}
}

// Whatever comes: every value is a piece of the input, bounded, without separators, and a written form reads back equal.
func FuzzParseBaggage(f *testing.F) {
	f.Add("k8s.namespace.name=bank,service.name=a")
	f.Add("service.name=,service.name=b,=,x")
	f.Add("k8s.pod.name=\x00\xff, cloud.region = r")
	f.Fuzz(func(t *testing.T, line string) {
		b := identity.ParseBaggage(line)
		var written []string
		for key, value := range map[string]string{
			"k8s.cluster.name": b.Cluster, "k8s.namespace.name": b.Namespace, "k8s.pod.name": b.Workload, "service.name": b.App,
			"service.version": b.Version, "cloud.region": b.Region, "cloud.availability_zone": b.Zone,
		} {
			if strings.Contains(value, ",") || !strings.Contains(line, value) || len(value) > 8<<10 {
				t.Errorf("%q: %s is %q", line, key, value)
			}
			if value != "" {
				written = append(written, key+"="+value)
			}
		}
		if again := identity.ParseBaggage(strings.Join(written, ",")); again != b {
			t.Errorf("%q: read as %+v, written and read again as %+v", line, b, again)
		}
	})
}
