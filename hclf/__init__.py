"""hclf"""
