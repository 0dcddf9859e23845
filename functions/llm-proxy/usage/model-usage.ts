export { NO_USAGE, totalTokens, type ModelUsage } from '../../../shared/llm/model-usage.ts'
