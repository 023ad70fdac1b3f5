package identity

import "fmt"

// Matcher accepts an ID by returning nil; the error it returns otherwise is the reason for the refusal.
type Matcher func(ID) error

// MatchID accepts exactly one ID.
func MatchID(want ID) Matcher {
	return func(got ID) error {
		if got.IsZero() || got != want {
			return fmt.Errorf("identity: got %q, expected %q", got, want)
		}
		return nil
	}
}

// MatchOneOf accepts any of the given IDs. With none given it accepts nobody.
func MatchOneOf(want ...ID) Matcher {
	return func(got ID) error {
		for _, w := range want {
			if !got.IsZero() && got == w {
				return nil
			}
		}
		return fmt.Errorf("identity: %q is not among the %d expected identities", got, len(want))
	}
}

// MatchTrustDomains accepts every ID of the given trust domains: our own and its aliases. With none given it accepts
// nobody.
func MatchTrustDomains(tds ...TrustDomain) Matcher {
	return func(got ID) error {
		for _, td := range tds {
			if !td.IsZero() && got.TrustDomain() == td {
				return nil
			}
		}
		return fmt.Errorf("identity: trust domain %q is not trusted", got.TrustDomain())
	}
}
