package identity

import "strings"

// Limits of baggage that we read; what is over a limit is dropped, never refused (contract ambient 4.3, CVE-2026-29181:
// baggage must not cost memory).
const (
	maxBaggageBytes   = 8 << 10
	maxBaggageMembers = 64
)

// Baggage is what a ztunnel says about the client's workload. It is a telemetry hint and never an identity: the
// namespace and service account that count come from the certificate.
type Baggage struct {
	Cluster   string // k8s.cluster.name
	Namespace string // k8s.namespace.name
	Workload  string // the deployment, cronjob, pod or job name, whichever came
	App       string // service.name: the canonical service
	Version   string // service.version: the canonical revision
	Region    string // cloud.region
	Zone      string // cloud.availability_zone
}

// ParseBaggage reads the baggage header lines of a CONNECT request: comma-separated key=value without
// percent-encoding; unknown keys, empty values and members without "=" are skipped; the first value of a key stays.
func ParseBaggage(lines ...string) Baggage {
	var b Baggage
	seen, size := 0, 0
	for _, line := range lines {
		if size += len(line); size > maxBaggageBytes {
			return b
		}
		for member := range strings.SplitSeq(line, ",") {
			if seen++; seen > maxBaggageMembers {
				return b
			}
			key, value, ok := strings.Cut(strings.TrimSpace(member), "=")
			if !ok || value == "" {
				continue
			}
			if p := b.field(key); p != nil && *p == "" {
				*p = value
			}
		}
	}
	return b
}

// TrustedFor returns b if it speaks of the namespace that id proves, and empty baggage otherwise.
func (b Baggage) TrustedFor(id ID) Baggage {
	if ns, ok := id.Namespace(); !ok || b.Namespace != ns {
		return Baggage{}
	}
	return b
}

func (b *Baggage) field(key string) *string {
	switch key {
	case "k8s.cluster.name":
		return &b.Cluster
	case "k8s.namespace.name":
		return &b.Namespace
	case "k8s.deployment.name", "k8s.cronjob.name", "k8s.pod.name", "k8s.job.name":
		return &b.Workload
	case "service.name":
		return &b.App
	case "service.version":
		return &b.Version
	case "cloud.region":
		return &b.Region
	case "cloud.availability_zone":
		return &b.Zone
	}
	return nil
}
