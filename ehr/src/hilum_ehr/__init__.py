"""An EHR that does not exist, beside the platform: it is what the sandbox's hospitals run, not a part of Hilum.

Owns: an embeddable FHIR R4 server (fhirserver), synthetic people (synthesis), and the sandbox site with its EHR simulator and sample apps.
Must not know: the platform's modules. It uses the foundation (kernel, standards, infra, web) and reaches the platform by HTTP, like any EHR.
"""
